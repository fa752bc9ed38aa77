"""A small shell with job control: runs one command in the foreground of its terminal, and reports the terminal's modes.

It prints `pid N`, `stopped MODES` (then it waits for a line and continues the command) and `ended STATUS MODES`. MODES is
`same` if the terminal's modes are the same as before the command, else `changed`.
"""

import os
import signal
import sys
import termios


def say(text):
    os.write(1, f"{text}\n".encode())


def main():
    terminal = 0
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    before = termios.tcgetattr(terminal)
    pid = os.fork()
    if not pid:
        os.setpgid(0, 0)
        os.tcsetpgrp(terminal, os.getpid())
        for number in (signal.SIGTTOU, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        os.execv(sys.argv[1], sys.argv[1:])
    say(f"pid {pid}")
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        os.tcsetpgrp(terminal, os.getpgrp())
        modes = "same" if termios.tcgetattr(terminal) == before else "changed"
        if not os.WIFSTOPPED(status):
            say(f"ended {os.waitstatus_to_exitcode(status)} {modes}")
            return
        say(f"stopped {modes}")
        os.read(terminal, 100)
        os.tcsetpgrp(terminal, pid)
        os.killpg(pid, signal.SIGCONT)


main()
