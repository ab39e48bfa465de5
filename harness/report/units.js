const digits = (v) => (Math.round(v) >= 1000 ? v.toFixed(0) : String(Number(v.toPrecision(3))));
const told = {
  duration: (v) => (v < 1 ? digits(v * 1e3) + " ms" : digits(v) + " s"),
  size: (v) => (v >= 2 ** 30 ? digits(v / 2 ** 30) + " GiB" : digits(v / 2 ** 20) + " MiB"),
  share: (v) => digits(v * 100) + " %",
  rate: (v) => digits(v) + "/s",
  count: (v) => digits(v),
  cost: (v) => digits(v) + " USD",
};
