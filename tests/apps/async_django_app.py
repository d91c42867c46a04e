"""async_views.py in Django, at the same paths as in Flask, behind middleware of both kinds; /async/orm is its own."""

import asyncio
import os

import async_views
import django
from async_views import PARTS, WAYS, both
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(
    SECRET_KEY="of a test",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware", f"{__name__}.counted",
        "django.middleware.common.CommonMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)  # fmt: skip
django.setup()

from django.contrib.auth.models import User  # noqa: E402  a model, which is there only now
from django.utils.decorators import async_only_middleware  # noqa: E402


@async_only_middleware
def counted(get_response):
    async def middleware(request):
        answer = await get_response(request)
        await asyncio.sleep(0)
        answer["X-Async"] = "1"
        return answer

    return middleware


async def orm():
    """Each a user of its own, and how many there are of that name."""
    name = f"user{id(asyncio.current_task())}"
    user = await User.objects.acreate(username=name)
    found = [each.username async for each in User.objects.filter(pk=user.pk)]
    await user.adelete()
    return str(found == [name])


async def view(request, name):
    async_views.here = request.build_absolute_uri("/")
    return HttpResponse(await both(orm if name == "orm" else PARTS[name]))


def ordinary(request, way, name):
    return HttpResponse(WAYS[way](PARTS[name]))


def plain(request):
    return HttpResponse("plain")


urlpatterns = [path("", plain), path("async/<name>", view), path("<way>/<name>", ordinary)]
call_command("migrate", verbosity=0)
app = get_wsgi_application()
