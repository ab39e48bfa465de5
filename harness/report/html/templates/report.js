// Read-out, zoom and toggles for charts that are whole without them. Values are read back from the drawn places.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const FULL = 1000;

  const places = {
    s: (x) => digits(x) + " s",
    percentile: (x) => "p" + Number((100 * (1 - 10 ** -x)).toFixed(x > 2 ? 2 : 1)),
    load: (x) => digits(x) + " at once",
    rate: (x) => digits(x) + "/s",
  };

  function make(name, attributes, parent) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    parent.append(made);
    return made;
  }

  /** One panel: its series as places, and what a place means. */
  class Panel {
    constructor(element) {
      const d = element.dataset;
      this.element = element;
      this.plot = element.querySelector(".plot");
      this.box = element.querySelector(".box");
      this.ticks = element.querySelector(".x-ticks");
      this.written = [...this.ticks.children].map((t) => [parseFloat(t.getAttribute("x")) * 10, t.textContent]);
      this.unit = d.unit;
      this.log = d.scale === "log";
      [this.low, this.high, this.height] = [d.low, d.high, d.height].map(Number);
      [this.xLow, this.xHigh, this.xUnit] = [Number(d.xLow), Number(d.xHigh), d.xUnit];
      this.series = [...element.querySelectorAll("path.series")].map((path) => ({ path, name: path.dataset.name, points: null }));
      this.view = [0, FULL];
    }
    points(series) {
      if (!series.points) {
        series.points = [];
        for (const [, x, y] of series.path.getAttribute("d").matchAll(/[ML](-?[\d.]+) (-?[\d.]+)/g)) series.points.push([Number(x), Number(y)]);
      }
      return series.points;
    }
    value(y) {
      const share = 1 - y / this.height;
      return this.log ? this.low * (this.high / this.low) ** share : this.low + share * (this.high - this.low);
    }
    where(x) {
      return this.xLow + (x / FULL) * (this.xHigh - this.xLow);
    }
    /** The place of a pointer, in thousandths of the whole axis. */
    at(event) {
      const area = this.plot.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - area.left) / area.width));
      return this.view[0] + share * (this.view[1] - this.view[0]);
    }
    show(view) {
      this.view = view;
      this.plot.setAttribute("viewBox", `${view[0]} 0 ${view[1] - view[0]} ${this.height}`);
      const marks = this.xUnit === "s" && (view[0] > 0 || view[1] < FULL) ? this.round(view) : this.written;
      const sample = this.ticks.firstElementChild;
      if (!sample) return;
      const kept = marks.filter(([x]) => x >= view[0] - 0.01 && x <= view[1] + 0.01).map(([x, label]) => {
        const share = ((x - view[0]) / (view[1] - view[0])) * 100;
        const text = sample.cloneNode(false);
        text.setAttribute("x", share.toFixed(2) + "%");
        text.setAttribute("text-anchor", share < 2 ? "start" : share > 98 ? "end" : "middle");
        text.textContent = label;
        return text;
      });
      if (kept.length) this.ticks.replaceChildren(...kept);
    }
    round(view) {
      const [from, to] = view.map((x) => this.where(x));
      const rough = (to - from) / 6;
      const scale = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 2.5, 5, 10].map((m) => m * scale).find((m) => m >= rough);
      const found = [];
      for (let t = Math.ceil(from / step) * step; t <= to + 1e-9; t += step) found.push([((t - this.xLow) / (this.xHigh - this.xLow)) * FULL, Number(t.toPrecision(6)) + " s"]);
      return found;
    }
    cursor(x) {
      if (!this.line) this.line = make("line", { class: "cursor", y1: 0, y2: this.height, "vector-effect": "non-scaling-stroke" }, this.plot);
      this.line.setAttribute("x1", x);
      this.line.setAttribute("x2", x);
      this.line.classList.toggle("hidden", x < this.view[0] || x > this.view[1]);
    }
    /** What each visible series is nearest to a place. */
    read(x) {
      const near = 0.02 * (this.view[1] - this.view[0]);
      const found = [];
      for (const series of this.series) {
        if (series.path.classList.contains("hidden")) continue;
        let best = null;
        for (const point of this.points(series)) if (!best || Math.abs(point[0] - x) < Math.abs(best[0] - x)) best = point;
        if (best && (Math.abs(best[0] - x) <= near || series.points.length < 60)) found.push(`${series.name} ${told[this.unit](this.value(best[1]))}`);
      }
      return found;
    }
  }

  /** All panels that share a clock: one cursor, one zoom. */
  class Clock {
    constructor() {
      this.panels = [];
      this.tools = [];
      this.x = FULL / 2;
      this.view = [0, FULL];
    }
    point(x) {
      this.x = Math.min(this.view[1], Math.max(this.view[0], x));
      for (const panel of this.panels) {
        panel.cursor(this.x);
        panel.out.textContent = [`at ${places[panel.xUnit](panel.where(this.x))}`, ...panel.read(this.x)].join(" · ");
      }
    }
    zoom(from, to) {
      const width = Math.min(FULL, Math.max(4, to - from));
      const start = Math.min(FULL - width, Math.max(0, from));
      this.view = [start, start + width];
      for (const panel of this.panels) panel.show(this.view);
      const whole = width >= FULL - 0.01;
      for (const button of this.tools) button.classList.toggle("hidden", whole);
    }
    closer(times) {
      const width = (this.view[1] - this.view[0]) * times;
      this.zoom(this.x - width / 2, this.x + width / 2);
    }
  }

  function legend(panel) {
    for (const item of panel.element.querySelectorAll(".legend li")) {
      const series = panel.series[Number(item.dataset.series)];
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      button.append(...item.childNodes);
      item.append(button);
      button.addEventListener("click", () => {
        const hidden = series.path.classList.toggle("hidden");
        button.setAttribute("aria-pressed", String(!hidden));
      });
    }
  }

  function dragging(panel, clock) {
    let from = null;
    let area = null;
    panel.plot.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.pointerType === "touch") return;
      from = panel.at(event);
      panel.plot.setPointerCapture(event.pointerId);
    });
    panel.plot.addEventListener("pointermove", (event) => {
      const x = panel.at(event);
      clock.point(x);
      if (from === null) return;
      area ??= make("rect", { class: "drag", y: 0, height: panel.height }, panel.plot);
      area.setAttribute("x", Math.min(from, x));
      area.setAttribute("width", Math.abs(x - from));
    });
    panel.plot.addEventListener("pointerup", (event) => {
      const to = panel.at(event);
      if (from !== null && Math.abs(to - from) > 0.01 * (clock.view[1] - clock.view[0])) clock.zoom(Math.min(from, to), Math.max(from, to));
      area?.remove();
      from = area = null;
    });
    panel.plot.addEventListener("dblclick", () => clock.zoom(0, FULL));
  }

  function keys(panel, clock) {
    const { element } = panel;
    element.tabIndex = 0;
    element.setAttribute("role", "group");
    element.setAttribute("aria-label", element.querySelector(".panel-title").textContent + ": arrows read, plus and minus zoom, 0 shows all");
    element.addEventListener("keydown", (event) => {
      if (event.target !== element || event.ctrlKey || event.metaKey || event.altKey) return;
      const step = (clock.view[1] - clock.view[0]) / (event.shiftKey ? 10 : 100);
      const act = {
        ArrowLeft: () => clock.point(clock.x - step),
        ArrowRight: () => clock.point(clock.x + step),
        Home: () => clock.point(clock.view[0]),
        End: () => clock.point(clock.view[1]),
        "+": () => clock.closer(0.5),
        "=": () => clock.closer(0.5),
        "-": () => clock.closer(2),
        0: () => clock.zoom(0, FULL),
        Escape: () => clock.zoom(0, FULL),
      }[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }

  const clocks = new Map();
  for (const figure of document.querySelectorAll("figure")) {
    const name = figure.dataset.clock ?? figure.id;
    if (!clocks.has(name)) clocks.set(name, new Clock());
    const clock = clocks.get(name);
    const tools = document.createElement("span");
    tools.className = "tools";
    const reset = document.createElement("button");
    reset.type = "button";
    reset.textContent = "show all";
    reset.classList.add("hidden");
    reset.addEventListener("click", () => clock.zoom(0, FULL));
    tools.append(reset);
    figure.prepend(tools);
    clock.tools.push(reset);
    for (const element of figure.querySelectorAll(".panel")) {
      const panel = new Panel(element);
      panel.out = document.createElement("output");
      panel.out.className = "read";
      element.append(panel.out);
      clock.panels.push(panel);
      legend(panel);
      dragging(panel, clock);
      keys(panel, clock);
    }
  }
})();
