"""What may be wrong here, and what to do about it: findings about the installation, the environment, the proxy.

Start reading in `findings`.
"""
