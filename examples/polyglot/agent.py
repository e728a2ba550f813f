"""An agent for skep in Python, by runtime/protocol/PROTOCOL.md alone (queue lane): pip install nats-py"""
import asyncio, contextlib, itertools, json, math, os, random, signal, time, uuid
from collections import Counter
import nats.errors

AGENT, SLOTS = f"words-py-{uuid.uuid4().hex[:8]}", 4
held, working, begun, seq, draining = {}, {}, set(), itertools.count(1), asyncio.Event()
ration = {"told": "full", "most": math.inf}

async def count_words(value):
    return {"words": Counter(value["text"].split())}

async def top_words(value):
    total = sum((Counter(count["words"]) for count in value["counts"]), Counter())
    return [word for word, _ in sorted(total.items(), key=lambda entry: (-entry[1], entry[0]))][: value["most"]]
HANDLERS = {"count_words": count_words, "top_words": top_words}

async def beat(nc, leaving=False):
    offers = [{"capability": name, "slots": SLOTS} for name in HANDLERS]
    heartbeat = {"v": 1, "agent": AGENT, "seq": next(seq), "lane": "queue", "offers": offers, "held": list(held.values()),
                 "draining": draining.is_set(), "leaving": leaving, "ration": ration["told"], "software": "agent.py 1"}
    await nc.publish(f"skep.beat.{AGENT}", json.dumps(heartbeat).encode())

async def report(nc, task, body):
    """Reports until confirmed and returns the verdict; none for a question that nobody answered before the end."""
    ids, partition, delay = {key: task[key] for key in ("run", "step", "attempt")}, task["partition"], 0.05
    message = json.dumps({"v": 1, "agent": AGENT, "reports": [{**ids, "body": body}]}).encode()
    while not ("taken" in body and (draining.is_set() or len(begun) >= ration["most"])):
        try:
            answer = json.loads((await nc.request(f"skep.report.{partition}.{AGENT}", message, timeout=15)).data)
            return {"rejected": answer["unreadable"]} if "unreadable" in answer else answer["verdicts"][0]
        except Exception as error:  # no coordinator, no answer, no connection
            with contextlib.suppress(Exception):
                if isinstance(error, nats.errors.NoRespondersError) and "taken" not in body:
                    await nc.jetstream().publish(f"skep.late.{partition}.{AGENT}", message)
                    return "applied"
        await asyncio.sleep((delay := min(delay * 2, 5)) * random.uniform(0.5, 1))

async def outcome(task):
    start = time.monotonic()
    try:
        if "json" not in task["input"]:
            failure = {"kind": "agent", "code": "payload_unsupported", "message": "no blobs here", "retryable": False}
        else:
            work = HANDLERS[task["capability"]](task["input"]["json"])
            output = await asyncio.wait_for(work, task["timeout_ms"] / 1000)
            return {"completed": {"output": {"json": output}, "duration_ms": int((time.monotonic() - start) * 1000)}}
    except asyncio.TimeoutError:
        failure = {"kind": "timeout", "code": "timeout", "message": "out of time"}
    except Exception as error:
        failure = {"kind": "agent", "code": type(error).__name__[:64], "message": str(error)[:8000]}
    return {"failed": {"failure": failure}}

async def keep(msg):
    while True:
        await asyncio.sleep(10)
        await msg.in_progress()

async def perform(nc, msg):
    task = json.loads(msg.data)
    key = (task["run"], task["step"], task["attempt"])
    if key in held:
        return await msg.in_progress()  # delivered twice: it is being worked on
    if len(held) >= ration["most"]:
        return await msg.nak()
    held[key] = {"run": key[0], "step": key[1], "attempt": key[2], "since": int(time.time() * 1000)}
    working[key], keeper = asyncio.current_task(), asyncio.create_task(keep(msg))
    try:
        verdict = await report(nc, task, {"taken": {}})
        if verdict is None:
            return await msg.nak()
        if verdict == "applied" and len(begun) >= ration["most"]:
            await report(nc, task, {"released": {}})
        elif verdict == "applied":
            begun.add(key)
            await report(nc, task, {"outcome": await outcome(task)})
        await msg.ack()
    except asyncio.CancelledError:  # what comes next at the step waits for the heartbeat
        await msg.ack()
        held.pop(key)
        await beat(nc)
    finally:
        keeper.cancel(), held.pop(key, None), working.pop(key), begun.discard(key)

async def pull(nc, capability):
    slots, tasks, queue = asyncio.Semaphore(SLOTS), set(), None
    while not draining.is_set():
        await slots.acquire()
        try:
            if len(held) >= ration["most"]:
                raise LookupError("told to hold no more")
            queue = queue or await nc.jetstream().pull_subscribe_bind(durable=capability, stream="skep_tasks")
            [msg] = await queue.fetch(1, timeout=1)
        except Exception:  # nothing came, it may not, or the queue is not there yet
            slots.release()
            await asyncio.sleep(0.1)
            continue
        task = asyncio.create_task(perform(nc, msg))
        tasks.add(task)
        task.add_done_callback(lambda done: (tasks.discard(done), slots.release()))
    await asyncio.gather(*tasks, return_exceptions=True)

async def main():
    nc = await nats.connect(os.environ.get("SKEP_NATS_URL", "nats://127.0.0.1:4222"), max_reconnect_attempts=-1)
    async def control(msg):
        message = json.loads(msg.data)
        for ids in message.get("cancel", {}).get("attempts", []):
            if attempt := working.get((ids["run"], ids["step"], ids["attempt"])):
                attempt.cancel()
        if "drain" in message:
            draining.set()
        if (told := message.get("ration")) is not None:  # less holds at once, more once it was said
            most = math.inf if told == "full" else told["at_most"]
            ration.update(told=told, most=min(most, ration["most"]))
            await beat(nc)
            ration["most"] = most
        if "roll_call" in message:
            await beat(nc)
    async def beats():
        while True:
            await beat(nc)
            await asyncio.sleep(2)
    for subject in ("skep.ctl", f"skep.ctl.{AGENT}"):
        await nc.subscribe(subject, cb=control)
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, draining.set)
    beating = asyncio.create_task(beats())
    print(f"{AGENT} is there", flush=True)
    await asyncio.gather(*(pull(nc, capability) for capability in HANDLERS))
    beating.cancel()
    await beat(nc, leaving=True)
    await nc.flush()
    await nc.close()

asyncio.run(main())
