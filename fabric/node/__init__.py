"""The membership of one process in a fabric: a bus, a link to the proxy, endpoints, and a name.

    node             the methods for applications
    lifecycle        opens, reopens and closes a node
    connect          makes the nodes of this process; exit and forks
    link             the sockets and threads of both planes; socket_options: the table of their options
    barriers         round trips through the proxy
    ready            waits for readiness; answers the queries of other nodes
    drain            completes the work of a node that closes
    trace            which subscriptions match a topic
    slow_consumers   which consumers do not keep up

Start reading in `node`, then `lifecycle` and `link`.
"""
