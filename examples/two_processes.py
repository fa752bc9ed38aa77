"""Two processes that know nothing of each other but topics.

    python examples/two_processes.py

The thermometer publishes, the thermostat subscribes, and answers with events of its own. Neither has an address of the
other: both join the fabric, whose proxy is started in the background if there is none (see `fabric tap`).
"""

import subprocess
import sys

import fabric


def thermometer() -> None:
    """Publishes temperatures, and ends when the heating goes off."""
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
    """Heats below 18 °C, until it is above 21 °C."""
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
            other.stdout.readline()  # "ready": it listens, so nothing we publish is lost on it
            thermometer()
