"""An asyncio service: coroutines as subscribers, `async for` over events, an orderly shutdown.

    python examples/asyncio_service.py                        in one terminal
    fabric pub job.submit '{"name": "tea", "seconds": 1}'     in another
    fabric pub job.stop

Each job runs in a task of its own, so jobs overlap. Their progress is published.
"""

import asyncio

import fabric


async def main() -> None:
    async with fabric.connect("kitchen") as node:

        @node.on("job.submit")
        async def work(job: fabric.Envelope) -> None:
            """Runs on this loop. Its exceptions are logged."""
            node.publish("job.started", {"name": job["name"]})
            await asyncio.sleep(job.get("seconds", 0))
            node.publish("job.finished", {"name": job["name"]})

        async with node.events("job.*") as events:
            await events.subscription.ready()  # from now on no event of these subscriptions is missed
            print("ready", flush=True)
            async for event in events:
                print(event["type"], event.get("name", ""), flush=True)
                if event["type"] == "job.stop":
                    return


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass  # the usual way to stop; `async with` has closed the node
