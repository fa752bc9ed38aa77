"""A node's half of the event plane: events sent through the XPUB, events received through the SUB, and gaps between them.

    out    sender ┬ pacing                        when to send
                  ├ interest                      which topics are wanted, and which events may share a message
                  └ outbox ┬ offline_queue        bounds while nothing can be sent
                           └ retransmit           recently sent packs
    in     receiver ─ delivery ─ gaps ┬ recovery  asks an origin for missing events
                                      └ origin_age
    late   retained                               the last event of each topic
           catch_up                               a snapshot, then live events

Sockets, threads and clocks are in `sender`, `receiver`, `delivery`, `retained` and `catch_up`; the others are pure. The
package does not know messages and endpoints: where it must ask another node, a function is passed in. Start reading in
`sender` for events that are sent, in `receiver` for events that arrive.
"""
