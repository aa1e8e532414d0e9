#!/usr/bin/python3
"""A sink for pipelined in Python: it appends the records to a file, one JSON object per line. README.md explains it."""

import json
import os
import socket
import struct
import sys
import threading
from concurrent import futures
from datetime import datetime, timezone

import grpc

import sink_v1_pb2 as pb

VERSION = 1  # of the protocol
WINDOW = 2048  # records that may wait here: two batches. They are still written when the daemon wants a run to stop

# ---- the sink itself -------------------------------------------------------------------------------------------------

KINDS = {11: "policy-deny", 12: "screen-drop", 13: "filter-log", 14: "session-open", 15: "session-close", 16: "loss"}

HEADER = struct.Struct("<IB3xQ")  # length, type, sequence number
SMALLEST = 136  # bytes of a record


class FileSink:
    def configure(self, options):
        """Reads the options and yields the mistakes in them as (key, message). It must not touch the destination."""
        for key in options:
            if key != "path":
                yield key, "unknown key; the keys are: path"
        self.path = options.get("path")
        if not isinstance(self.path, str) or not self.path:
            yield "path", "must be the path of a file"

    def write(self, batch, names, epoch):
        """Writes a batch, and returns when the destination has it. An exception ends the run: the records come again."""
        lines = [json.dumps(line(kind, sequence, record, names, epoch)) + "\n" for kind, sequence, record in frames(batch)]
        with open(self.path, "a", encoding="utf-8") as file:
            file.writelines(lines)


def frames(batch):
    """Takes a batch apart: docs/formats.md draws a frame. Nothing in it is believed before it was looked at."""
    data, start = batch.frames, 0
    for i in range(batch.count):
        end = len(data) + 1
        if start + HEADER.size <= len(data):
            length, kind, sequence = HEADER.unpack_from(data, start)
            end = start + HEADER.size + length
        if end > len(data) or length < SMALLEST or kind not in KINDS or sequence != batch.first + i:
            raise ValueError(f"frame {i} of a batch of {batch.count} cannot be read")
        yield kind, sequence, data[start + HEADER.size : end]
        start = end


def line(kind, sequence, record, names, epoch):
    nanoseconds, = struct.unpack_from("<Q", record, 0)
    zone, = struct.unpack_from("<H", record, 48)
    fields = {
        "epoch": str(epoch),
        "sequence": str(sequence),
        "kind": KINDS[kind],
        "time": datetime.fromtimestamp(nanoseconds // 10**6 / 1000, timezone.utc).isoformat(timespec="milliseconds"),
        "ingressZone": names.zones.get(zone, ""),
    }
    if KINDS[kind] != "loss":  # which is about many
        fields["source"] = address(record, 8)
        fields["destination"] = address(record, 24)
        fields["sourcePort"], fields["destinationPort"] = struct.unpack_from(">HH", record, 40)
    return fields


def address(record, offset):
    if record[55] == 2:  # the family: 2 is IPv4
        return socket.inet_ntop(socket.AF_INET, record[offset : offset + 4])
    return socket.inet_ntop(socket.AF_INET6, record[offset : offset + 16])


# ---- the protocol ----------------------------------------------------------------------------------------------------


class Service:
    def __init__(self, sink):
        self.sink = sink
        self.delivered = 0
        self.turn = threading.Lock()  # one run at a time: the next one waits for the one before to return

    def configure(self, request, context):
        problems = [pb.Problem(key=key, message=message) for key, message in self.sink.configure(json.loads(request.config))]
        return pb.ConfigureResponse(problems=problems, summary="appends JSON lines to a file")

    def health(self, request, context):
        counters = [pb.Counter(name="delivered", value=self.delivered)]
        return pb.HealthResponse(status=json.dumps({"path": self.sink.path}), counters=counters)

    def reopen(self, request, context):
        return pb.ReopenResponse()

    def deliver(self, requests, context):
        """Is one run. What is yielded goes up. What comes down ends when the daemon wants the run to stop."""
        with self.turn:
            epoch, names, credit = 0, {}, WINDOW  # names by generation
            yield pb.Up(credit=credit)
            for down in requests:
                what = down.WhichOneof("message")
                if what == "open":
                    epoch = down.open.epoch
                elif what == "names":
                    names[down.names.generation] = down.names
                elif what == "drain":
                    return
                elif what == "batch":
                    batch = down.batch
                    try:
                        self.sink.write(batch, names.get(batch.generation, pb.Names()), epoch)
                    except Exception as err:  # the daemon calls again, after a pause
                        context.abort(grpc.StatusCode.ABORTED, str(err))
                    self.delivered += batch.count
                    credit += batch.count
                    yield pb.Up(ack=batch.first + batch.count - 1, credit=credit)

    def handler(self):
        def unary(call, request):
            return grpc.unary_unary_rpc_method_handler(call, request.FromString, lambda response: response.SerializeToString())

        return grpc.method_handlers_generic_handler("pipelined.sink.v1.Sink", {
            "Configure": unary(self.configure, pb.ConfigureRequest),
            "Health": unary(self.health, pb.HealthRequest),
            "Reopen": unary(self.reopen, pb.ReopenRequest),
            "Deliver": grpc.stream_stream_rpc_method_handler(self.deliver, pb.Down.FromString, pb.Up.SerializeToString),
        })


# ---- the handshake ---------------------------------------------------------------------------------------------------


def main():
    if os.environ.get("PIPELINED_PLUGIN") != "sink":
        sys.exit('This is a sink for pipelined, which starts it: plugin = "exec" in pipeline.toml.')

    # Threads: one for a run, one for a run that waits for it, and two for short calls.
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=[("grpc.max_receive_message_length", 64 << 20)])
    server.add_generic_rpc_handlers([Service(FileSink()).handler()])
    address = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "sink")
    server.add_insecure_port("unix:" + address)
    server.start()
    # go-plugin 1, protocol version, network, address, kind of RPC, and no certificate.
    print(f"1|{VERSION}|unix|{address}|grpc|", flush=True)

    # The daemon holds the other end of standard input: when it is gone or wants us to end, so is the input.
    sys.stdin.buffer.read()
    server.stop(grace=None)  # the interpreter waits for a batch that is being written


if __name__ == "__main__":
    main()
