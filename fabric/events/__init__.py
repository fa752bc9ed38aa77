"""A node's half of the event plane: what leaves through the XPUB, what arrives through the SUB, and what is missing.

    out   sender ─ pacing, outbox ─ offline_queue, retransmit; interest says who wants what
    in    receiver ─ delivery ─ gaps ─ recovery, origin_age
    late  retained (last events), catch_up (a snapshot, then what is live)

This room does not know messages and endpoints: where it must ask another node, a function is handed in. Start reading in
`sender` for events that leave, in `receiver` for events that arrive.
"""
