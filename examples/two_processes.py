"""Two processes that share nothing but topics.

    python examples/two_processes.py

The thermometer publishes, the thermostat subscribes, and publishes events in return. Neither knows an address of the other:
both connect to the fabric, whose proxy is started in the background if none runs (see `fabric tap`).
"""

import subprocess
import sys

import fabric


def thermometer() -> None:
    """Publishes temperatures, and ends when the heating is off."""
    with fabric.connect("thermometer") as node, node.events("heating.*", timeout=10) as answers:
        answers.subscription.wait_ready()  # from here on no answer is missed
        for temperature in (17.0, 18.5, 21.5):
            print(f"thermometer: {temperature} °C", flush=True)
            node.publish("room.temperature", {"celsius": temperature})
        for answer in answers:
            print(f"thermometer: heard {answer['type']} from {answer['src']}", flush=True)
            if answer["type"] == "heating.off":
                return


def thermostat() -> None:
    """Switches the heating on below 18 °C, and off above 21 °C."""
    with fabric.connect("thermostat") as node, node.events("room.temperature", timeout=10) as readings:
        readings.subscription.wait_ready()
        print("ready", flush=True)
        for reading in readings:
            if reading["celsius"] < 18:
                node.publish("heating.on", {"because": reading["celsius"]})
            elif reading["celsius"] > 21:
                node.publish("heating.off", {"because": reading["celsius"]})
                return


if __name__ == "__main__":
    if sys.argv[1:] == ["thermostat"]:
        thermostat()
    else:
        command = [sys.executable, __file__, "thermostat"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
            other.stdout.readline()  # "ready": its subscription is live, so it misses no event
            thermometer()
