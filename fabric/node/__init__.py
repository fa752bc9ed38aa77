"""One process's membership of a fabric: a bus, a link to the proxy, endpoints, and a name.

    node       what applications hold; lifecycle opens, reopens and closes it, connect makes it
    link       the sockets and threads of both planes
    ready, drain, trace, slow_consumers

Start reading in `node`, then `lifecycle` and `link`.
"""
