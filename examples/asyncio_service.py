"""An asyncio service: coroutines as subscribers, `async for` over events, a clean end.

    python examples/asyncio_service.py                        in one terminal
    fabric pub job.submit '{"name": "tea", "seconds": 1}'     in another
    fabric pub job.stop

Each job runs in a task of its own, so they overlap; progress is published, whoever cares.
"""

import asyncio

import fabric


async def main() -> None:
    async with fabric.connect("kitchen") as node:

        @node.on("job.submit")
        async def work(job: fabric.Envelope) -> None:
            """Runs on this loop. What it raises is logged."""
            node.publish("job.started", {"name": job["name"]})
            await asyncio.sleep(job.get("seconds", 0))
            node.publish("job.finished", {"name": job["name"]})

        async with node.events("job.*") as events:
            await events.subscription.ready()  # everything subscribed so far is heard from now on
            print("ready", flush=True)
            async for event in events:
                print(event["type"], event.get("name", ""), flush=True)
                if event["type"] == "job.stop":
                    return


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass  # the ordinary end; `async with` has closed the node
