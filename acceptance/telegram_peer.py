#!/usr/bin/env python3
"""The local Telegram server under an independent client: Telethon, unchanged, does with it what it does with Telegram.

What the tests of the Telegram store find out holds only if the server they run against is one. Its own tests use the
library that keepfs uses; this is another one, written by other people from Telegram's documents, with a key exchange
of its own.
"""

import asyncio
import glob
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import time

from harness import MIB, TARGET, run_script

SERVER = os.path.join(TARGET, "release", "keepfs-tgsim")
PACKAGES = glob.glob(os.path.join(TARGET, "tools", "telethon", "lib", "python3*", "site-packages"))
PHONE = "+15550100"
CODE = "31415"
PASSWORD = "correct horse"
NOTES = 230
FLOOD_SECONDS = 2
PUSH_SECONDS_MAX = 5


class Server:
    """The server as a process, and its control socket."""

    def __init__(self, report):
        self.process = subprocess.Popen(
            [SERVER, "--state", report.path("state"), "--data-centres", "2,4"], stdout=subprocess.PIPE, text=True
        )
        report.on_exit(self.end)
        self.greeting = json.loads(self.process.stdout.readline())
        host, port = self.greeting["control"].split(":")
        self.control = socket.create_connection((host, int(port)))
        self.lines = self.control.makefile("r")

    def command(self, name, /, **fields):
        self.control.sendall((json.dumps({"command": name, **fields}) + "\n").encode())
        answer = json.loads(self.lines.readline())
        if "error" in answer:
            raise RuntimeError(f"{name}: {answer['error']}")
        return answer

    def fault(self, **fields):
        self.command("fault", fault=fields)

    def address(self, data_centre):
        host, port = self.greeting["data_centres"][str(data_centre)].split(":")
        return host, int(port)

    def end(self):
        self.process.kill()
        self.process.wait()


class Peer:
    """Makes clients that speak to the server."""

    def __init__(self, server):
        from telethon.crypto import rsa

        rsa.add_key(server.greeting["rsa_public_key"], old=False)
        self.server = server

    async def client(self, data_centre=2, session=None, local_address=None):
        from telethon import TelegramClient
        from telethon.sessions import StringSession

        client = TelegramClient(
            StringSession(session),
            api_id=1,
            api_hash="0" * 32,
            local_addr=local_address,
            connection_retries=1,
            request_retries=2,
        )
        if session is None:
            client.session.set_dc(data_centre, *self.server.address(data_centre))
        try:
            await client.connect()
        except Exception:
            await client.disconnect()
            raise
        return client

    async def signed_in(self, **options):
        client = await self.client(**options)
        await client.send_code_request(PHONE)
        try:
            await client.sign_in(PHONE, CODE)
        except error("SessionPasswordNeededError"):
            await client.sign_in(password=PASSWORD)
        return client


def error(name):
    from telethon import errors

    return getattr(errors, name)


async def refused(awaitable, name):
    """Whether the server answers with this error."""
    try:
        await awaitable
    except error(name):
        return True
    return False


async def sign_in(report, peer):
    client = await peer.client()
    report.check(len(client.session.auth_key.key) == 256, "a key is exchanged with the server's RSA key")
    await client.send_code_request(PHONE)
    report.check(await refused(client.sign_in(PHONE, "00000"), "PhoneCodeInvalidError"), "a wrong code is refused")
    needed = await refused(client.sign_in(PHONE, CODE), "SessionPasswordNeededError")
    report.check(needed, "the right code asks for the password")
    wrong = await refused(client.sign_in(password="house"), "PasswordHashInvalidError")
    report.check(wrong, "a wrong password is refused")
    user = await client.sign_in(password=PASSWORD)
    report.check(user.phone == PHONE and (await client.get_me()).id == user.id, "the right password signs in")
    return client


def noise(report, name, size):
    path = report.path(name)
    with open(path, "wb") as out:
        out.write(random.Random(name).randbytes(size))
    return path


def same(path, data):
    with open(path, "rb") as content:
        return hashlib.sha256(content.read()).digest() == hashlib.sha256(data).digest()


async def files(report, peer, client):
    small = noise(report, "small.bin", 300_123)
    message = await client.send_file("me", small, caption="small one", force_document=True)
    report.check(same(small, await client.download_media(message, bytes)), "a small file comes back")
    big = noise(report, "big.bin", 11 * MIB + 77)
    flood = {"error": {"code": 420, "message": f"FLOOD_WAIT_{FLOOD_SECONDS}"}}
    peer.server.fault(method="upload.saveBigFilePart", skip=3, times=1, action=flood)
    started = time.monotonic()
    message = await client.send_file("me", big, caption="big one", force_document=True)
    seconds = time.monotonic() - started
    counters = peer.server.command("counters")
    report.check(
        seconds >= FLOOD_SECONDS and counters["errors"].get("FLOOD_WAIT") == 1,
        "an upload waits out a flood and goes on",
        (seconds, counters["errors"]),
    )
    report.check(counters["uploads"] == {"small.bin": 1, "big.bin": 1}, "each file was completed once", counters)
    report.check(same(big, await client.download_media(message, bytes)), "a big file comes back")
    pieces = client.iter_download(message.media, offset=5 * MIB + 4096, request_size=65536, limit=3)
    piece = b"".join([part async for part in pieces])
    with open(big, "rb") as content:
        content.seek(5 * MIB + 4096)
        report.check(piece == content.read(3 * 65536), "a range in the middle comes back")
    peer.server.command("set", settings={"document_dc": 4})
    message = await client.send_file("me", small, caption="far one", force_document=True)
    far = await client.download_media(message, bytes)
    report.check(same(small, far), "a file is read from the data centre that keeps it")
    peer.server.command("set", settings={"document_dc": 2})


async def messages(report, client):
    from telethon.tl.types import InputMessagesFilterPinned

    for number in range(NOTES):
        await client.send_message("me", f"note {number}")
    listed = await client.get_messages("me", limit=None)
    ids = [message.id for message in listed]
    report.check(
        len(ids) == NOTES + 3 and ids == sorted(set(ids), reverse=True),
        f"history of {NOTES + 3} messages is paged without gaps",
        len(ids),
    )
    forth = [message.id async for message in client.iter_messages("me", reverse=True)]
    report.check(forth == ids[::-1], "and the same from its beginning")
    found = await client.get_messages("me", search="note 77")
    report.check([message.message for message in found] == ["note 77"], "search finds a message", found)
    await client.edit_message("me", found[0].id, "seventy-seven")
    edited = await client.get_messages("me", ids=found[0].id)
    report.check(edited.message == "seventy-seven" and edited.edit_date, "a message is edited", edited)
    await client.pin_message("me", edited.id)
    pinned = await client.get_messages("me", filter=InputMessagesFilterPinned)
    report.check([message.id for message in pinned] == [edited.id], "a message is pinned", pinned)
    await client.unpin_message("me", edited.id)
    await client.delete_messages("me", [edited.id, edited.id + 1])
    gone = await client.get_messages("me", ids=[edited.id, edited.id + 1, edited.id + 2])
    report.check([message is None for message in gone] == [True, True, False], "messages are deleted", gone)


async def channel(report, client):
    from telethon.tl.functions.channels import CreateChannelRequest, DeleteChannelRequest, GetFullChannelRequest

    made = await client(CreateChannelRequest(title="volume", about="tag", broadcast=True))
    channel = made.chats[0]
    message = await client.send_message(channel, "first")
    report.check(message.id == 2, "a channel counts its own messages", message)
    full = await client(GetFullChannelRequest(channel))
    report.check(full.full_chat.about == "tag", "a channel keeps its description", full)
    names = [dialog.name async for dialog in client.iter_dialogs()]
    report.check("volume" in names, "the channel is among the chats", names)
    await client(DeleteChannelRequest(channel))
    late = await refused(client.send_message(channel, "late"), "ChannelPrivateError")
    report.check(late, "a deleted channel takes nothing more")


async def pushes(report, peer, client):
    from telethon import events

    other = await peer.signed_in(data_centre=4)
    report.check(other.session.dc_id == 2, "a login at another data centre is sent home", other.session.dc_id)
    arrived = asyncio.Queue()

    async def note(event):
        await arrived.put((event.raw_text, time.monotonic()))

    other.add_event_handler(note, events.NewMessage())
    await other.get_me()
    started = time.monotonic()
    await client.send_message("me", "pushed")
    text, at = await asyncio.wait_for(arrived.get(), PUSH_SECONDS_MAX)
    report.check(text == "pushed", "a message reaches another session by itself", text)
    report.figure("push", round((at - started) * 1000, 1), "ms")
    return other


async def sessions(report, peer, client, other):
    from telethon.tl.functions.account import GetAuthorizationsRequest, ResetAuthorizationRequest

    listed = (await client(GetAuthorizationsRequest())).authorizations
    report.check(len(listed) == 2, "both sessions are listed", listed)
    await client(ResetAuthorizationRequest(next(session.hash for session in listed if not session.current)))
    ended = await refused(other.get_messages("me", limit=1), "AuthKeyUnregisteredError")
    report.check(ended, "a session is ended by another")
    copy = peer.client(session=client.session.save(), local_address=("127.0.0.2", 0))
    report.check(await refused(copy, "AuthKeyDuplicatedError"), "a session that is used from two places is given up")
    dead = await refused(client.get_messages("me", limit=1), "AuthKeyDuplicatedError")
    report.check(dead, "for both")
    again = await peer.signed_in()
    await again.log_out()
    for one in (client, other, again):
        await one.disconnect()


async def everything(report, peer):
    client = await sign_in(report, peer)
    await files(report, peer, client)
    await messages(report, client)
    await channel(report, client)
    other = await pushes(report, peer, client)
    await sessions(report, peer, client, other)


def body(report):
    report.need(PACKAGES, "Telethon is installed (test.sh does it)")
    sys.path[:0] = PACKAGES
    server = Server(report)
    server.command("account", phone=PHONE, code=CODE, password=PASSWORD, name="Peer")
    asyncio.run(everything(report, Peer(server)))
    report.check(server.process.poll() is None, "the server still runs")


if __name__ == "__main__":
    run_script("telegram_peer", body)
