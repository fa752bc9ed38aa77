"""Several workers share the name of an endpoint, and each message goes to one of them in turn.

    python examples/worker_group.py

Every worker registers "resize" with the policy `share`. Senders need not know the number of workers.
"""

import threading

import fabric


def start_worker(number: int, done: list[str]) -> fabric.Node:
    """A worker: a node with an endpoint of the shared name."""
    node = fabric.connect(f"worker-{number}", bus=fabric.Bus())

    def resize(message: fabric.Message) -> str:
        done.append(f"worker-{number}")
        return f"{message.body['picture']} resized by worker-{number}"

    node.wait_ready(20)
    node.endpoint("resize", resize, policy="share", max_workers=2).wait_ready()
    return node


def main() -> None:
    done: list[str] = []
    workers = [start_worker(number, done) for number in (1, 2, 3)]
    boss = fabric.connect("boss", bus=fabric.Bus())
    boss.wait_ready(20)

    receipts = [boss.request("resize", {"picture": f"{n}.png"}, timeout=10) for n in range(9)]
    for receipt in receipts:
        print(receipt.wait())

    workers[0].close()  # the others go on, and senders need no notice
    print(boss.request("resize", {"picture": "last.png"}, timeout=10).wait())
    print("shares:", ", ".join(f"{name} {done.count(name)}" for name in sorted(set(done))))

    closing = [threading.Thread(target=node.close) for node in (*workers, boss)]
    for thread in closing:
        thread.start()
    for thread in closing:
        thread.join()


if __name__ == "__main__":
    main()
