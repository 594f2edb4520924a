"""The control plane's routes. The gateway hands everything here that is not a hot path."""

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.urls import URLPattern, URLResolver, path
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django.views.i18n import set_language

from appliance.api.urls import urlpatterns as tenant_api
from appliance.console.pages.acceptance import acceptance, acceptance_run, certificate_html, certificate_json
from appliance.console.pages.adapter import adapter, withdraw_adapter
from appliance.console.pages.aliases import alias_remove, alias_set
from appliance.console.pages.approvals import approvals, approve_adapter, reject_adapter
from appliance.console.pages.audit import audit
from appliance.console.pages.batch import batch, batch_file, cancel_batch
from appliance.console.pages.batches import batches
from appliance.console.pages.capacity import capacity
from appliance.console.pages.conversations import (
    conversation,
    conversations,
    conversations_erase,
    conversations_file,
    conversations_off,
)
from appliance.console.pages.data import data, file
from appliance.console.pages.data_acts import delete_file, report_html, report_json
from appliance.console.pages.erasures import erase_file, erasure, erasure_file, erasures
from appliance.console.pages.fine_tuning import fine_tuning
from appliance.console.pages.guide import guide
from appliance.console.pages.job import job
from appliance.console.pages.job_acts import cancel_job, pause_job, resume_job
from appliance.console.pages.keys import key_limits, keys, revoke_key
from appliance.console.pages.login import Login, Logout, editor_login
from appliance.console.pages.models import models
from appliance.console.pages.overview import overview
from appliance.console.pages.playground import playground, playground_key
from appliance.console.pages.serving import serving
from appliance.console.pages.signoffs import revoke_report, sign_report
from appliance.console.pages.tenant import tenant, tenant_policy
from appliance.console.pages.tenants import new, tenants
from appliance.console.pages.upgrades import upgrade, upgrades
from appliance.console.pages.usage import usage

form = require_http_methods(["GET", "HEAD", "POST"])

urlpatterns: list[URLPattern | URLResolver] = [
    path("", require_safe(overview), name="overview"),
    path("login/", Login.as_view(), name="login"),
    path("logout/", Logout.as_view(), name="logout"),
    path("language/", login_not_required(require_POST(set_language)), name="set_language"),
    path("playground/", require_safe(playground), name="playground"),
    path("playground/key/", require_POST(playground_key), name="playground_key"),
    path("serving/", require_safe(serving), name="serving"),
    path("capacity/", require_safe(capacity), name="capacity"),
    path("models/", require_safe(models), name="models"),
    path("models/adapters/<uuid:adapter_id>/", require_safe(adapter), name="adapter"),
    path("models/adapters/<uuid:adapter_id>/withdraw/", form(withdraw_adapter), name="adapter_withdraw"),
    path("fine-tuning/", require_safe(fine_tuning), name="fine_tuning"),
    path("fine-tuning/<slug:job_id>/", require_safe(job), name="job"),
    path("fine-tuning/<slug:job_id>/cancel/", form(cancel_job), name="job_cancel"),
    path("fine-tuning/<slug:job_id>/pause/", require_POST(pause_job), name="job_pause"),
    path("fine-tuning/<slug:job_id>/resume/", require_POST(resume_job), name="job_resume"),
    path("data/", require_safe(data), name="data"),
    path("data/<slug:file_id>/", require_safe(file), name="file"),
    path("data/<slug:file_id>/report.html", require_safe(report_html), name="file_report_html"),
    path("data/<slug:file_id>/report.json", require_safe(report_json), name="file_report_json"),
    path("data/<slug:file_id>/delete/", form(delete_file), name="file_delete"),
    path("data/<slug:file_id>/erase/", form(erase_file), name="file_erase"),
    path("data/<slug:file_id>/sign/", require_POST(sign_report), name="file_sign"),
    path("data/<slug:file_id>/unsign/", require_POST(revoke_report), name="file_unsign"),
    path("erasures/", require_safe(erasures), name="erasures"),
    path("erasures/<uuid:erasure_id>/", require_safe(erasure), name="erasure"),
    path("erasures/<uuid:erasure_id>/<str:name>", require_safe(erasure_file), name="erasure_file"),
    path("batches/", require_safe(batches), name="batches"),
    path("batches/<slug:batch_id>/", require_safe(batch), name="batch"),
    path("batches/<slug:batch_id>/cancel/", form(cancel_batch), name="batch_cancel"),
    path("batches/<slug:batch_id>/<slug:which>.jsonl", require_safe(batch_file), name="batch_file"),
    path("approvals/", require_safe(approvals), name="approvals"),
    path("approvals/<uuid:adapter_id>/approve/", form(approve_adapter), name="approval_approve"),
    path("approvals/<uuid:adapter_id>/reject/", form(reject_adapter), name="approval_reject"),
    path("tenants/", require_safe(tenants), name="tenants"),
    path("tenants/new/", form(new), name="tenant_new"),
    path("tenants/<slug:tenant_id>/", require_safe(tenant), name="tenant"),
    path("tenants/<slug:tenant_id>/policy/", require_POST(tenant_policy), name="tenant_policy"),
    path("tenants/<slug:tenant_id>/aliases/set/", require_POST(alias_set), name="alias_set"),
    path("tenants/<slug:tenant_id>/aliases/remove/", require_POST(alias_remove), name="alias_remove"),
    path("tenants/<slug:tenant_id>/keys/", form(keys), name="keys"),
    path("tenants/<slug:tenant_id>/keys/<uuid:key_id>/limits/", form(key_limits), name="key_limits"),
    path("tenants/<slug:tenant_id>/keys/<uuid:key_id>/revoke/", form(revoke_key), name="key_revoke"),
    path("tenants/<slug:tenant_id>/conversations/", form(conversations), name="conversations"),
    path("tenants/<slug:tenant_id>/conversations/off/", require_POST(conversations_off), name="conversations_off"),
    path("tenants/<slug:tenant_id>/conversations/erase/", form(conversations_erase), name="conversations_erase"),
    path("tenants/<slug:tenant_id>/conversations.jsonl", require_safe(conversations_file), name="conversations_file"),
    path("tenants/<slug:tenant_id>/conversations/<slug:request_id>/", require_safe(conversation), name="conversation"),
    path("usage/", require_safe(usage), name="usage"),
    path("guide/", require_safe(guide), name="guide"),
    path("upgrades/", require_safe(upgrades), name="upgrades"),
    path("upgrades/<uuid:upgrade_id>/", require_safe(upgrade), name="upgrade"),
    path("acceptance/", require_safe(acceptance), name="acceptance"),
    path("acceptance/<uuid:run_id>/", require_safe(acceptance_run), name="acceptance_run"),
    path("acceptance/<uuid:run_id>/certificate.html", require_safe(certificate_html), name="certificate_html"),
    path("acceptance/<uuid:run_id>/certificate.json", require_safe(certificate_json), name="certificate_json"),
    path("audit/", require_safe(audit), name="audit"),
    path("admin/logout/", Logout.as_view()),
    path("admin/login/", login_not_required(editor_login)),
    path("admin/", admin.site.urls),
    *tenant_api,
]

handler400 = "appliance.console.pages.errors.bad_request"
handler403 = "appliance.console.pages.errors.forbidden"
handler404 = "appliance.console.pages.errors.not_found"
handler500 = "appliance.console.pages.errors.failed"
