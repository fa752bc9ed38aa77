"""The message plane: a ROUTER, and the directory of nodes and endpoints that decides what goes where.

`plane` owns the socket; `directory` and its parts are pure and tested without one. This room does not know events. Start
reading in `directory`.
"""
