"""A WebSocket client of Python's standard library and RFC 6455 alone."""
import base64, hashlib, json, os, socket, struct, sys

host, port = sys.argv[1].split(":")
sock = socket.create_connection((host, int(port)))
stream = sock.makefile("rb")
key = base64.b64encode(os.urandom(16)).decode()
sock.sendall((
    "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % (sys.argv[1], key)).encode())
assert b" 101 " in stream.readline()
accept = None
while (line := stream.readline().strip()):
    name, value = line.decode().split(":", 1)
    if name.lower() == "sec-websocket-accept":
        accept = value.strip()
guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
assert accept == base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()


def send(opcode, payload):
    assert len(payload) < 126
    mask = os.urandom(4)
    body = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    sock.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + body)


def receive():
    while True:
        first, length = stream.read(2)
        if length == 126:
            length, = struct.unpack(">H", stream.read(2))
        payload = stream.read(length)
        if first == 0x89:  # a ping
            send(0xA, payload)
        else:
            return first & 0xF, payload


def say(**frame):
    send(1, json.dumps(frame).encode())


def hear():
    opcode, payload = receive()
    assert opcode == 1, (opcode, payload)
    return json.loads(payload)


def show(*words):
    sys.stdout.buffer.write((" ".join(words) + "\n").encode())
    sys.stdout.buffer.flush()


say(type="subscribe", data="news", id="1")
f = hear()
show(f["type"], f["channel"], f["id"])
f = hear()
show(f["type"], f["channel"], f["data"])
say(type="unsubscribe", data="news", id="2")
f = hear()
show(f["type"], f["channel"], f["id"])
opcode, payload = receive()
assert opcode == 8
show("closed", str(struct.unpack(">H", payload[:2])[0]), json.loads(payload[2:])["reason"])
send(8, payload[:2])
