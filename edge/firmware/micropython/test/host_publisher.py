"""A device on the unix port: host_publisher.py FILE, a JSON object of facts.

Ends once all is confirmed, and prints sums. Value i of the whole stream is i * 7 mod 2001 - 1000, so a reader
knows what each batch must hold.
"""

import json
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 2)[0] if __file__.count("/") > 1 else "..")

import ds_outbox
import ds_publisher


def broker(facts):
    """Address and credentials: of ds_device.py, if the facts name its folder."""
    if "provisioned" not in facts:
        return {"host": facts["host"], "port": facts["port"]}
    sys.path.insert(0, facts["provisioned"])
    import ds_device

    return ds_publisher.broker_of(ds_device)


def main(facts):
    rows = facts["rows"]
    names = facts["channels"]
    size = ds_publisher.batch_size(len(names), rows)
    if "files" in facts:
        outbox = ds_outbox.Flash(facts["folder"], facts["slots"], size, facts["files"])
    else:
        outbox = ds_outbox.Ring(facts["slots"], size)
    boot = ds_outbox.next_boot(facts["folder"])
    publisher = ds_publisher.Publisher(
        facts["device"], names, facts["units"], facts["fs"], outbox, boot, scale=facts["scale"], rows=rows,
        keepalive=facts.get("keepalive", 4), **broker(facts),
    )  # fmt: skip
    total = facts["batches"] * rows
    values = [0] * len(names)
    begun = time.ticks_us()
    fast = facts["speed"] * facts["fs"]
    n = 0
    while n < total:
        due = time.ticks_diff(time.ticks_us(), begun) * fast // 1000000
        while n < min(due, total):
            for c in range(len(names)):
                values[c] = (n * len(names) + c) * 7 % 2001 - 1000
            publisher.sample(values, int(n * 1000000 / facts["fs"]))
            n += 1
        publisher.poll()
        publisher.wait(5)
    done = publisher.close(facts.get("close_ms", 60000))
    said = {"boot": boot, "put": publisher.seq, "lost": outbox.lost, "sent": publisher.sent}
    said.update({"waiting": outbox.count, "done": done})
    print(json.dumps(said))


main(json.load(open(sys.argv[1])))
