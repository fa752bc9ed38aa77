"""The messages of an agent: it receives a directive, acknowledges it, reports progress, and reports that it is done.

    python examples/agent_lifecycle.py

`channel` identifies the chat that a question came from; only the lead interprets it. The worker copies it into each report
unchanged, so that the lead can route the report back to that chat.

    lead-agent ── directive ──▸ worker
               ◂── ack ────────
               ◂── progress ───   (any number)
               ◂── task_done ──
"""

import asyncio

import fabric


async def work(node: fabric.Node, inbox: fabric.Endpoint) -> None:
    """The worker: handles directives until its inbox is closed."""
    async for directive in inbox:
        asker, channel = directive.sender, directive.body.get("channel")

        async def report(kind: str, text: str, *, to: str = asker, channel: str | None = channel) -> None:
            await node.send(to, {"text": text}, type=kind, channel=channel, sender="worker")

        await report("ack", f"taken: {directive.body['text']}")
        for step in ("reading", "writing"):
            await report("progress", step)
        await report("task_done", f"done: {directive.body['text']}")


async def main() -> None:
    async with fabric.connect("host-1", bus=fabric.Bus()) as here, fabric.connect("host-2", bus=fabric.Bus()) as there:
        await here.ready(20)
        await there.ready(20)
        inbox = there.endpoint("worker")
        await inbox.ready()
        worker = asyncio.create_task(work(there, inbox))
        lead = here.endpoint("lead-agent")
        await lead.ready()

        for channel, text in (("feishu:oc_1", "summarise the log"), ("telegram:42", "book a room")):
            await here.send("worker", {"text": text}, type="directive", channel=channel, sender="lead-agent")
        open_tasks = 2
        async for message in lead:
            body = message.body
            print(f"[{body['channel']}] {body['type']}: {body['text']}")
            open_tasks -= body["type"] == "task_done"
            if not open_tasks:
                break
        inbox.close()
        await worker


if __name__ == "__main__":
    asyncio.run(main())
