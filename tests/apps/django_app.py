"""The application of exchanges.py in Django, with its admin, sessions and ORM on SQLite (DATABASE, a file)."""

import json
import os
from pathlib import Path

import django
from django.conf import settings
from django.contrib import admin
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.templatetags.static import static as static_url
from django.urls import get_script_prefix, path, reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST, require_safe
from django.views.static import serve

FILE = Path(os.environ["FILE"])

settings.configure(
    SECRET_KEY="of a test",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}},
    INSTALLED_APPS=[
        f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.common.CommonMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    STATIC_URL="assets/",
)  # fmt: skip
django.setup()

from django.contrib.auth import authenticate  # noqa: E402  models, which are there only now
from django.contrib.auth import login as log_in  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402


@require_safe
def index(request):
    return HttpResponse("hello\n")


@require_GET
def moved(request):
    return HttpResponseRedirect("/")


@csrf_exempt
@require_POST
def login(request):
    log_in(request, authenticate(username=request.POST["user"], password="secret"))
    return HttpResponseRedirect("/me")


@require_GET
def me(request):
    return HttpResponse(request.user.username or "nobody")


@require_GET
def links(request):
    return JsonResponse(
        {
            "here": request.build_absolute_uri(), "prefix": get_script_prefix(), "path": request.path_info,
            "me": reverse("me"), "static": static_url("a.css"), "outside": request.build_absolute_uri(reverse("me")),
        }
    )  # fmt: skip


@require_GET
def to_me(request):
    return HttpResponseRedirect(reverse("me"))


@require_GET
def users(request):
    return JsonResponse({"users": list(User.objects.order_by("username").values("username", "is_staff"))})


@csrf_exempt
@require_POST
def upload(request):
    file = request.FILES["file"]
    return JsonResponse({"name": file.name, "size": len(file.read()), "note": request.POST["note"]})


@csrf_exempt
@require_POST
def from_json(request):
    return JsonResponse({"got": json.loads(request.body)})


@csrf_exempt
@require_POST
def echo(request):
    return HttpResponse(request.body, content_type="application/octet-stream")


@require_GET
def stream(request):
    return StreamingHttpResponse((f"piece {number}\n" for number in range(5)), content_type="text/plain")


@require_GET
def text(request, text):
    return HttpResponse(f"{text} {request.GET.get('q', '')}", content_type="text/plain; charset=utf-8")


@require_safe
def static(request):
    return serve(request, FILE.name, document_root=FILE.parent)


@require_GET
def download(request):
    return FileResponse(FILE.open("rb"), content_type="application/octet-stream")


def fails(request):
    raise RuntimeError("on purpose")


urlpatterns = [
    path("", index), path("moved", moved), path("login", login), path("me", me, name="me"), path("users", users),
    path("upload", upload), path("json", from_json), path("echo", echo), path("stream", stream),
    path("text/<path:text>", text), path("file", static), path("download", download), path("fails", fails),
    path("links", links), path("to-me", to_me), path("admin/", admin.site.urls),
]  # fmt: skip
if not Path(os.environ["DATABASE"]).exists():
    call_command("migrate", verbosity=0)
    User.objects.create_superuser("anna", password="secret")
app = get_wsgi_application()
