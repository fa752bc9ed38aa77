"""Send a request to an endpoint, and wait for its answer; here both sides are in one program.

python examples/request_reply.py
"""

import fabric


def calculate(message: fabric.Message) -> dict[str, float]:
    """Runs on a thread of the endpoint. The return value is the answer; an exception reaches the asker."""
    amount, rate = message.body["amount"], message.body["rate"]
    return {"converted": amount * rate}


def main() -> None:
    # Two buses, so that this program can act as two processes. A process of its own just calls connect().
    with fabric.connect("bank", bus=fabric.Bus()) as bank, fabric.connect("shop", bus=fabric.Bus()) as shop:
        bank.wait_ready(20)
        shop.wait_ready(20)
        bank.endpoint("converter", calculate)

        answer = shop.request("converter", {"amount": 12.5, "rate": 2}, timeout=5).wait()
        print("the converter says", answer["converted"])

        try:
            shop.request("converter", {"amount": 12.5}).wait()
        except fabric.RemoteError as error:
            print("without a rate it says", error.type, error.text)

        try:
            shop.request("convertor", {}).wait()
        except fabric.NoSuchEndpoint as error:
            print("a name nobody has:", error)


if __name__ == "__main__":
    main()
