-- Version 1 of the schema that PostgresStore keeps its documents in. Run once, with the schema on the search path.
-- Names are bytes: any text fits, also one with a zero in it, and order does not depend on a collation.

create table document (
    key bytea primary key,
    version bigint not null,
    value bytea not null,
    fence bigint not null,
    ends_us bigint,             -- end of its life in microseconds, null for none
    operations bigint[] not null -- digests of its last 256 operation ids, oldest first; the last one made `version`
) with (fillfactor = 50, toast_tuple_target = 8160);
-- Values of a few KiB stay in the row, uncompressed: updating them in place costs a third of moving them out.
alter table document alter column value set storage external;
alter table document alter column operations set storage main;

create table field (
    key bytea not null,
    name bytea not null,
    value bytea not null,
    primary key (key, name)
) with (fillfactor = 50);

-- Does a batch of writes and merges, in order, in the one transaction of its statement.
--
-- `locks` are numbers of all documents in it, ascending: taken first and in that order, they make writers of the same
-- documents wait for one another before any of them touched a row, so that no two batches can deadlock.
-- A merge has if_version null and `sizes` fields, which follow one another in names and contents.
-- Answers each with version * 4 + 0 done, 1 refused, 2 done before, 3 fenced.
create function apply(
    locks bigint[], keys bytea[], digests bigint[], if_versions bigint[], fences bigint[], ttls_us bigint[],
    bodies bytea[], sizes int[], names bytea[], contents bytea[], given_now_us bigint
) returns bigint[] language plpgsql as $$
declare
    now_us bigint := coalesce(given_now_us, (extract(epoch from clock_timestamp()) * 1000000)::bigint);
    results bigint[] := '{}';
    found_version bigint;
    found_fence bigint;
    found_ends_us bigint;
    found_operations bigint[];
    before int;
    size int;
    taken int := 0; -- fields of earlier merges
begin
    perform pg_advisory_xact_lock(number) from unnest(locks) number;
    for at in 1 .. cardinality(keys) loop
        size := sizes[at];
        taken := taken + size;
        update document set
            version = version + 1,
            value = coalesce(bodies[at], value),
            fence = greatest(fence, fences[at]),
            ends_us = coalesce(now_us + ttls_us[at], ends_us),
            operations = operations[cardinality(operations) - 254:] || digests[at]
        where key = keys[at]
            and version = coalesce(if_versions[at], version)
            and (fences[at] = 0 or fences[at] >= fence)
            and (ends_us is null or ends_us > now_us)
            and not digests[at] = any(operations)
        returning version into found_version;
        if not found then -- find out why, in the order that StateStore gives
            select version, fence, ends_us, operations
            into found_version, found_fence, found_ends_us, found_operations
            from document where key = keys[at];
            if not found and if_versions[at] <> 0 then
                results := results || 1::bigint;
                continue;
            elsif not found then
                found_version := 1;
                insert into document values (
                    keys[at], 1, coalesce(bodies[at], ''), fences[at], now_us + ttls_us[at], array[digests[at]]
                );
            else
                before := array_position(found_operations, digests[at]);
                results := results || case
                    when found_ends_us <= now_us then found_version * 4 + 1
                    when fences[at] <> 0 and fences[at] < found_fence then found_version * 4 + 3
                    when before is not null then (found_version - cardinality(found_operations) + before) * 4 + 2
                    else found_version * 4 + 1
                end;
                continue;
            end if;
        end if;
        results := results || (found_version * 4);
        if size > 0 then
            insert into field
            select keys[at], name, content
            from unnest(names[taken - size + 1:taken], contents[taken - size + 1:taken]) as given (name, content)
            on conflict (key, name) do update set value = excluded.value;
        end if;
    end loop;
    return results;
end $$;

-- Raises a document's fencing token, in turn with the batches that write it.
create function claim(lock bigint, wanted bytea, token bigint, given_now_us bigint) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock(lock);
    update document set fence = token
    where key = wanted and fence < token
    and (ends_us is null or ends_us > coalesce(given_now_us, (extract(epoch from clock_timestamp()) * 1000000)::bigint));
end $$;
