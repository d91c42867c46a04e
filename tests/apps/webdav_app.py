"""WsgiDAV over the directory ROOT; with REDIS, a port, the locks are there, for all workers to see."""

import os

from wsgidav.lock_man.lock_storage_redis import LockStorageRedis
from wsgidav.wsgidav_app import WsgiDAVApp

port = os.environ.get("REDIS")
app = WsgiDAVApp(
    {
        "provider_mapping": {"/": os.environ["ROOT"]},
        "simple_dc": {"user_mapping": {"*": True}},  # everybody may
        "lock_storage": LockStorageRedis(host="127.0.0.1", port=int(port)) if port else True,
        "property_manager": True,
        "logging": {"enable": False},
    }
)
