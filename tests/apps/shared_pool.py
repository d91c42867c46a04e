"""One pool of Redis connections for all of a process, as Django's cache takes it (OPTIONS: pool_class)."""

from redis import ConnectionPool


class SharedPool(ConnectionPool):
    pools = {}

    @classmethod
    def from_url(cls, url, **options):
        """The pool of this address: made once, with the options given then."""
        if url not in cls.pools:
            cls.pools[url] = super().from_url(url, **options)
        return cls.pools[url]
