"""The parts that fabric and proxy need of the operating system. No module here knows an event.

    autostart            starts a proxy in the background
    run_program          runs a program within limits; message_environment: a message as its environment
    worker_pool          a bounded queue of jobs and a few threads
    wakeup               ends the `poll` of another thread
    interrupts           whether the caller interrupts given functions: a signal handler, a finaliser
    inherited_sockets    closes the connections that a fork's child inherited
    terminal             escapes text of other programs

Each module stands by itself; read them in any order.
"""
