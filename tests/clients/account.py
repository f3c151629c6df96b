"""An ed25519 account for clients that bring none of their own."""

import hashlib

from nacl.signing import SigningKey


def ss58(public_key):
    """The address with prefix 42: prefix, key and two bytes of a hash, in base 58."""
    text = bytes([42]) + public_key
    number = int.from_bytes(text + hashlib.blake2b(b"SS58PRE" + text).digest()[:2], "big")
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[digit] + digits
    return digits


class Account:
    """The account of a seed, in hexadecimal digits."""

    crypto_type = 0
    ss58_format = 42

    def __init__(self, seed):
        self._key = SigningKey(bytes.fromhex(seed))
        self.public_key = bytes(self._key.verify_key)
        self.ss58_address = ss58(self.public_key)

    def sign(self, data):
        if isinstance(data, str):
            data = bytes.fromhex(data.removeprefix("0x"))
        return self._key.sign(bytes(getattr(data, "data", data))).signature
