"""Django with PostgreSQL (POSTGRESQL, a port) and its Redis cache (REDIS, a URL; POOL, the class of its pool).

/database asks the one, /cache the other, /german changes the language and leaves it so, /language tells it.
"""

import os

import django
from django.conf import settings
from django.core.cache import cache
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpResponse
from django.urls import path
from django.utils import translation

settings.configure(
    SECRET_KEY="of a test",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_I18N=True,
    LANGUAGE_CODE="en",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": "127.0.0.1",
            "PORT": os.environ["POSTGRESQL"], "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True,
        }
    },
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["REDIS"],
            "OPTIONS": {"pool_class": os.environ.get("POOL") or None},
        }
    },
)  # fmt: skip
django.setup()


def database(request):
    with connection.cursor() as cursor:
        cursor.execute("select 1 + 1")
        return HttpResponse(str(cursor.fetchone()[0]))


def cached(request):
    cache.set("key", "value")
    return HttpResponse(cache.get("key"))


def german(request):
    translation.activate("de")
    return HttpResponse(translation.get_language())


def language(request):
    return HttpResponse(translation.get_language())


urlpatterns = [path("database", database), path("cache", cached), path("german", german), path("language", language)]
app = get_wsgi_application()
