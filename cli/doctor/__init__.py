"""The checks of `fabric doctor`: the installation, the environment, the proxy; and the verdict of `fabric check`.

Each check is a function that returns findings. Start reading in `findings`.
"""
