"""A stage of a Kafka chain in Python: the same function as in the pipeline, between a consumer and a
producer of librdkafka that are tuned for latency. The parent's protocol is package stage's."""

import importlib.util
import json
import os
import resource
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

config = json.loads(os.environ["WEFT_BENCH_STAGE"])
plan, index, stages = config["plan"], config["index"], config["stages"]
total = plan["Warmup"] + plan["Events"]


def load_function():
    spec = importlib.util.spec_from_file_location("function", os.environ["WEFT_BENCH_FUNCTION"])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def consumer(topic):
    c = Consumer({"bootstrap.servers": config["server"], "group.id": topic, "enable.auto.commit": False,
                  "fetch.wait.max.ms": 500, "fetch.min.bytes": 1, "auto.offset.reset": "earliest"})
    c.assign([TopicPartition(topic, 0, 0)])
    return c


def receive(c):
    while True:
        m = c.poll(30)
        if m is None:
            raise RuntimeError("no event for 30 s")
        if m.error() is None:
            return m.value()


class Sender:
    def __init__(self, topic):
        self.topic = topic
        self.producer = Producer({"bootstrap.servers": config["server"], "acks": 1, "linger.ms": 0,
                                  "socket.nagle.disable": True, "compression.type": "none"})

    def send(self, event):
        self.producer.produce(self.topic, json.dumps(event, separators=(",", ":")))
        self.producer.poll(0)


def generate(out):
    pad = "x" * max(0, plan["Payload"] - 64)
    began = time.monotonic_ns()
    for n in range(total):
        due = time.monotonic_ns()
        if plan["Rate"]:
            due = began + int(n / plan["Rate"] * 1e9)
            wait = due - time.monotonic_ns()
            if wait > 0:
                time.sleep(wait / 1e9)
        out.send({"w": [due, time.monotonic_ns(), n], "p": pad})


def measure(source):
    sent, due, first, last = [], [], 0, 0
    for expected in range(total):
        event = json.loads(receive(source))
        at = time.monotonic_ns()
        d, s, n = event["w"]
        if n != expected:
            raise RuntimeError(f"event {n} came, event {expected} was expected")
        if n < plan["Warmup"]:
            continue
        first = first or at
        last = at
        sent.append(at - s)
        due.append(at - d)
    return {"events": plan["Events"], "seconds": (last - first) / 1e9, "sentNs": sent, "dueNs": due}


def cpu():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


source = consumer(config["names"][index - 1]) if index > 0 else None
sink = Sender(config["names"][index]) if index < stages - 1 else None
main = load_function()
print("ready", flush=True)
sys.stdin.readline()
began, result = cpu(), None
if source is None:
    generate(sink)
elif sink is None:
    result = measure(source)
else:
    for _ in range(total):
        sink.send(main(json.loads(receive(source))))
if sink is not None:
    sink.producer.flush(30)
print(json.dumps({"raw": result, "cpu": cpu() - began}), flush=True)
sys.stdin.read()
