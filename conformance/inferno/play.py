"""Plays the tester of Inferno's kits: starts their groups and clicks through sign-in, consent and the EHR's launch page.

It needs a running Inferno and a running Tributary with patients in it; docs/src/smart/inferno.md says how to get there.
What Inferno asks for is filled in, accounts and clients are made where they are missing. Standard library only.

    conformance/inferno/play.py --practitioner ID [--patients 85,355,907] [--group GROUP]... SUITE
"""

import argparse
import base64
import http.cookiejar
import json
import os
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from urllib import error, parse, request

PASSWORD = "Correct-Horse-9-Battery"
PATIENT_SCOPES = "launch/patient openid fhirUser offline_access patient/*.rs"
USER_SCOPES = "launch openid fhirUser offline_access user/*.rs"
G10 = {
    "us_core_version": "us_core_6",
    "smart_app_launch_version": "smart_app_launch_2_2",
    "multi_patient_version": "multi_patient_api_stu2",
}


class Page(HTMLParser):
    """The forms and links of one of Tributary's pages."""

    def __init__(self, html):
        super().__init__()
        self.forms, self.links = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if tag == "form":
            self.forms.append({"action": named.get("action", ""), "inputs": []})
        elif tag in ("input", "button") and self.forms:
            self.forms[-1]["inputs"].append(named)
        elif tag == "a":
            self.links.append(named.get("href", ""))

    def form(self, *actions):
        return next((form for form in self.forms if form["action"].startswith(actions)), None)


def sent(form):
    """What a form sends if nobody touches it."""
    kept = [i for i in form["inputs"] if i.get("name") and (i.get("type") == "hidden" or "checked" in i)]
    return [(i["name"], i.get("value", "")) for i in kept]


def offered(form, name):
    return [i["value"] for i in form["inputs"] if i.get("name") == name and i.get("type") in ("radio", "checkbox")]


def replaced(fields, name, value):
    return [pair for pair in fields if pair[0] != name] + [(name, value)]


class Browser:
    """One person's browser: a cookie jar, and what it shows."""

    def __init__(self, place):
        self.place = place
        self.opener = request.build_opener(request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def open(self, url, fields=None, origin=None):
        body = parse.urlencode(fields).encode() if fields is not None else None
        headers = {"Origin": origin or self.place.server} if fields is not None else {}
        try:
            answer = self.opener.open(request.Request(url, body, headers), timeout=120)
        except error.HTTPError as refused:
            answer = refused
        self.url, self.text = answer.geturl(), answer.read().decode(errors="replace")
        return self

    def submit(self, form, fields):
        return self.open(parse.urljoin(self.url, form["action"]), fields)

    def sign_in(self, user):
        form = Page(self.text).form("/oauth/login", "/account/sign-in")
        return self.submit(form, sent(form) + [("username", user), ("password", PASSWORD)]) if form else self

    def authorize(self, url, user, patient, keep=None, parts=()):
        """Answers an authorization request. `keep` says which scopes stay ticked, `parts` which kinds are added."""
        self.open(url)
        if "/post_auth" in self.url:  # a page whose script posts its own parameters
            fields = parse.parse_qsl(parse.urlsplit(self.url).query)
            rest = [pair for pair in fields if pair[0] != "auth_url"]
            self.open(dict(fields)["auth_url"], rest, self.place.inferno)
        self.sign_in(user)
        for _ in range(3):  # the patient, then the visit
            form = Page(self.text).form("/oauth/consent")
            if not form or not self.url.startswith(self.place.server):
                break
            fields = [pair for pair in sent(form) if pair[0] != "scope" or not keep or keep(pair[1])]
            kinds = [scope for scope in offered(form, "scope") if any(part in scope for part in parts)]
            fields += [("scope", scope) for scope in kinds if "?" in scope]
            if patient in offered(form, "patient"):
                fields = replaced(fields, "patient", patient)
            visits = [visit for visit in offered(form, "encounter") if visit != "none"]
            if visits:
                fields = replaced(fields, "encounter", visits[0])
            self.submit(form, fields + [("decision", "allow")])
        return self

    def start_from_ehr(self, user, patient, client):
        """Opens a patient in the built-in EHR and starts the app with the first visit."""
        self.open(f"{self.place.server}/ehr").sign_in(user).open(f"{self.place.server}/ehr/{patient}")
        form = Page(self.text).form("/ehr/")
        fields = replaced(sent(form), "encounter", next(it for it in offered(form, "encounter") if it != "none"))
        self.submit(form, fields + [("app", client)])
        if self.url.startswith(self.place.server):
            self.open(next(link for link in Page(self.text).links if "launch=" in link))

    def take_back_everything(self, user):
        self.open(f"{self.place.server}/portal/sharing").sign_in(user).open(f"{self.place.server}/portal/sharing")
        for form in [form for form in Page(self.text).forms if form["action"] == "/portal/sharing"]:
            self.open(f"{self.place.server}/portal/sharing", sent(form))


class Session:
    """A test session of Inferno, by its REST API."""

    def __init__(self, place, suite, options=None):
        self.place = place
        options = [{"id": name, "value": value} for name, value in (options or {}).items()]
        made = self.call("POST", "test_sessions", {"test_suite_id": suite, "suite_options": options})
        self.id = made["id"]
        print(f"{self.place.inferno}/test_sessions/{self.id}", flush=True)
        self.suite = self.call("GET", f"test_sessions/{self.id}")["test_suite"]
        self.failed = False

    def call(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        asked = request.Request(f"{self.place.inferno}/api/{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            return json.load(request.urlopen(asked, timeout=300))
        except error.HTTPError as refused:
            sys.exit(f"{method} {path}: {refused.code} {refused.read()[:500]}")

    def known(self):
        return {it["name"]: it["value"] for it in self.call("GET", f"test_sessions/{self.id}/session_data")}

    def group(self, short_id, within=None):
        for group in (within or self.suite).get("test_groups", []):
            if group["short_id"] == short_id:
                return group
            found = self.group(short_id, group)
            if found:
                return found
        return None

    def run(self, short_id, inputs, person=None):
        """Runs a group to its end; `person` does what it waits for."""
        group, known = self.group(short_id), self.known()
        filled = [self.fill(field, inputs, known) for field in group["inputs"]]
        run = self.call("POST", "test_runs", {"test_session_id": self.id, "test_group_id": group["id"], "inputs": filled})
        seen = set()
        while True:
            status = self.call("GET", f"test_runs/{run['id']}")["status"]
            if status in ("done", "cancelled"):
                break
            results = self.call("GET", f"test_runs/{run['id']}/results") if status == "waiting" else []
            for wait in [it for it in results if it["result"] == "wait" and it.get("test_id")]:
                if wait["id"] not in seen:
                    seen.add(wait["id"])
                    person(wait["result_message"])
            time.sleep(0.5)
        results = self.call("GET", f"test_runs/{run['id']}/results")
        self.report(group, {it["test_id"]: it for it in results if it.get("test_id")})

    def fill(self, field, inputs, known):
        value = inputs.get(field["name"], known.get(field["name"], field.get("value", field.get("default"))))
        if field["type"] == "auth_info" and field["name"] in inputs:
            parts = (field.get("options") or {}).get("components", [])
            kept = known.get(field["name"]) or {}
            kept = json.loads(kept) if isinstance(kept, str) else kept
            value = {part["name"]: part["default"] for part in parts if part.get("default")} | kept | value
        if isinstance(value, dict):
            value = json.dumps(value)
        return {"name": field["name"], "type": field["type"], "value": value}

    def report(self, group, results):
        counts = {}
        for test in tests_of(group):
            result = results.get(test["id"], {"result": "not run"})
            key = (result["result"], bool(test.get("optional")))
            counts[key] = counts.get(key, 0) + 1
            if result["result"] not in ("pass", "omit"):
                self.failed |= not key[1]
                kind = " (optional)" if key[1] else ""
                print(f"  {result['result']}{kind} {test['short_id']} {test['title']}: {result.get('result_message')}")
        counts = ", ".join(f"{count} {name}{' optional' if it else ''}" for (name, it), count in sorted(counts.items()))
        print(f"{group['short_id']} {group['title']}: {counts}", flush=True)


def tests_of(group):
    for inner in group.get("test_groups", []):
        yield from tests_of(inner)
    yield from group.get("tests", [])


def links_of(message):
    return [link.replace("&amp;", "&") for link in re.findall(r'(?:href="|\]\()(https?://[^)"\s]+)', message)]


class Place:
    """Both servers, and what was registered."""

    def __init__(self, options):
        self.inferno, self.server = options.inferno.rstrip("/"), options.server.rstrip("/")
        self.program, self.patients = options.program, options.patients.split(",")
        self.url = {"url": f"{self.server}/fhir"}
        self.secrets = {}
        self.environment = os.environ | {"TRIBUTARY_OUTBOUND_PRIVATE": "true"}
        for user, record in (("ada", f"Patient/{self.patients[0]}"), ("snow", f"Practitioner/{options.practitioner}")):
            self.command(["user", "add", user, "--fhir-user", record, "--password-stdin"], f"{PASSWORD}\n")

    def command(self, arguments, text=None):
        done = subprocess.run([self.program, *arguments], input=text, capture_output=True, text=True, env=self.environment)
        if done.returncode != 0 and "already" not in done.stderr:
            sys.exit(f"{' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def register(self, name, suite, keys):
        """The four clients of a suite, named anew, so that the secret is known."""
        at = f"{self.inferno}/custom"
        app = ["--redirect-uri", f"{at}/{suite}/redirect", "--launch-uri", f"{at}/{suite}/launch"]
        keys = ["--jwks-url", f"{at}/{keys}/.well-known/jwks.json"]
        unique = f"{name}-{int(time.time())}"
        kinds = {
            "public": app,
            "symmetric": ["--kind", "confidential", *app],
            "asymmetric": ["--kind", "confidential", *app, *keys],
            "backend_services": ["--kind", "backend", "--scope", "system/*.rs", *keys],
        }
        for kind, arguments in kinds.items():
            identity = f"{unique}-{kind.replace('_', '-')}"
            made = json.loads(self.command(["client", "add", "--json", "--id", identity, "--name", identity, *arguments]))
            self.secrets[kind] = (identity, made["client_secret"])

    def credentials(self, kind, **more):
        identity, secret = self.secrets[kind]
        value = {"auth_type": kind, "client_id": identity, "use_discovery": "true"} | more
        if secret:
            value["client_secret"] = secret
        if kind in ("asymmetric", "backend_services"):
            value["encryption_algorithm"] = "ES384"
        return value

    def introspection(self):
        pair = ":".join(self.secrets["symmetric"]).encode()
        return {"custom_authorization_header": f"Authorization: Basic {base64.b64encode(pair).decode()}"}

    def patient(self, keep=None, parts=(), user="ada"):
        """Does what a patient does with the links of a waiting test."""

        def act(message):
            links = links_of(message)
            browser = Browser(self).authorize(links[0], user, self.patients[0], keep, parts)
            if not browser.url.startswith(self.inferno) and len(links) > 1:
                Browser(self).open(links[1])  # "it failed, as it should"

        return act

    def practitioner(self, kind):
        """Does what a practitioner does: starts the app from the EHR, then allows what it asks for."""
        browser = Browser(self)

        def act(message):
            links = links_of(message)
            if links:
                browser.authorize(links[0], "snow", self.patients[0])
            else:
                browser.start_from_ehr("snow", self.patients[0], self.secrets[kind][0])

        return act


def smart(place, wanted):
    place.register("smart", "smart_stu2_2", "smart_stu2_2")
    failed = False
    for kind, method in (("public", "GET"), ("symmetric", "POST"), ("asymmetric", "GET")):
        session = Session(place, "smart_stu2_2")
        pkce = {"pkce_support": "enabled", "pkce_code_challenge_method": "S256", "auth_request_method": method}
        of_patient = place.credentials(kind, requested_scopes=PATIENT_SCOPES, **pkce)
        of_user = place.credentials(kind, requested_scopes=USER_SCOPES, **pkce)
        symmetric = place.credentials("symmetric", requested_scopes=PATIENT_SCOPES, **pkce)
        service = place.credentials("backend_services", requested_scopes="system/*.rs")
        print(f"{kind} client, authorization by {method}")
        runs = [
            ("1", {"standalone_smart_auth_info": of_patient}, place.patient()),
            ("2", {"ehr_smart_auth_info": of_user}, place.practitioner(kind)),
            ("3", {"backend_services_smart_auth_info": service}, None),
            ("4.1", {"standalone_smart_auth_info": symmetric}, place.patient()),
            ("4.2", place.introspection(), None),
            ("4.3", {}, None),
        ]
        for short_id, inputs, person in runs:
            if not wanted or short_id in wanted:
                session.run(short_id, place.url | inputs, person)
        failed |= session.failed
    return failed


def g10(place, wanted):
    place.register("g10", "smart", "g10_certification")
    session = Session(place, "g10_certification", G10)
    symmetric, people = place.credentials("symmetric"), place.patient()
    alone, ehr = {"standalone_smart_auth_info": symmetric}, place.practitioner("symmetric")
    bulk = place.credentials("backend_services", requested_scopes="system/*.rs", token_url=f"{place.server}/oauth/token")
    others = {"patient_ids": ",".join(place.patients)}
    limited = lambda it: not it.startswith("patient/") or it.split("/")[1].split(".")[0] in ("Patient", "Condition", "Observation")
    unlike = lambda it: it not in ("patient/Condition.rs", "patient/Observation.rs")
    choice = place.patient(unlike, ("encounter-diagnosis", "laboratory"))
    attested = {it["name"]: "true" for it in session.group("11")["inputs"] if it["type"] == "radio"}
    runs = [
        ("1", alone, people),
        ("9.3", {"token_revocation_attestation": "true"}, None),
        ("2", alone | {"expected_resources": "patient, condition, observation"}, place.patient(limited)),
        ("3", {"ehr_smart_auth_info": symmetric}, ehr),
        ("10", None, None),
        ("8", {"bulk_smart_auth_info": bulk, "bulk_server_url": place.url["url"], "group_id": "1a"}, None),
        ("9.16", {"public_smart_auth_info": place.credentials("public")}, people),
        ("9.4", alone, people),
        ("9.17", alone, people),
        ("9.18", alone, people),
        ("9.19", {"ehr_patient_smart_auth_info": symmetric}, ehr),
        ("9.20", alone | place.introspection(), people),
        ("9.21", {"asymmetric_smart_auth_info": place.credentials("asymmetric")}, people),
        ("9.22", {"v1_smart_auth_info": symmetric}, people),
        ("9.23.1", "granular_scopes_1_auth_info", place.patient(user="snow")),
        ("9.23.2", "granular_scopes_2_auth_info", place.patient(user="snow")),
        ("9.26", {"granular_scopes_selection_smart_auth_info": symmetric}, choice),
        ("11", attested | {"tls_version_attestation_notes": "By the proxy before the server"}, None),
    ]
    for short_id, inputs, person in runs:
        if wanted and short_id not in wanted:
            continue
        if short_id == "9.3":
            Browser(place).take_back_everything("ada")
        if short_id == "10":  # with the practitioner's token, who sees all of these patients
            inputs = {"patient_id": place.patients[0], "additional_patient_ids": ",".join(place.patients[1:])}
            inputs["smart_auth_info"] = token_of(session, "ehr_smart_auth_info")
        if short_id.startswith("9.23."):  # what the practitioner saw in 10 is compared, so it is the practitioner's too
            scopes = default_of(session.group(short_id), inputs, "requested_scopes").replace("patient/", "user/")
            inputs = others | {inputs: symmetric | {"requested_scopes": scopes}}
        session.run(short_id, place.url | inputs, person)
    return session.failed


def default_of(group, name, component):
    parts = next(it for it in group["inputs"] if it["name"] == name)["options"]["components"]
    return next(it["default"] for it in parts if it["name"] == component)


def us_core(place, wanted, suite="us_core_v610", api="2"):
    token = place.command(["token", "--scope", "system/*.rs", "--ttl", "2h", "--base-url", place.server]).strip()
    session = Session(place, suite, {"smart_app_launch_version": "smart_app_launch_2_2"})
    inputs = {"smart_auth_info": {"auth_type": "public", "access_token": token}, "patient_ids": ",".join(place.patients)}
    for short_id in wanted or [api]:
        session.run(short_id, place.url | inputs)
    return session.failed


def us_core_7(place, wanted):
    return us_core(place, wanted, "us_core_v700", "4")


def bulk(place, wanted):
    place.register("bulk", "smart", "bulk_data_v200")
    session = Session(place, "bulk_data_v200")
    service = place.credentials("backend_services", requested_scopes="system/*.rs", token_url=f"{place.server}/oauth/token")
    inputs = {"bulk_server_url": place.url["url"], "group_id": "1a", "smart_auth_info": service}
    for short_id in wanted or ["1", "2"]:
        session.run(short_id, inputs if short_id == "1" else inputs | {"smart_auth_info": token_of(session)})
    return session.failed


def brands(place, wanted):
    session = Session(place, "smart_access_brands")
    for short_id in wanted or ["1"]:
        session.run(short_id, {"user_access_brands_publication_url": f"{place.server}/.well-known/user-access-brands"})
    return session.failed


def ipa(place, wanted):
    place.register("ipa", "smart", "ipa_v100")
    session = Session(place, "ipa_v100")
    token = place.command(["token", "--scope", "system/*.rs", "--ttl", "2h", "--base-url", place.server]).strip()
    runs = {
        "1": {"smart_auth_info": place.credentials("public", requested_scopes=PATIENT_SCOPES)},
        "2": {"smart_auth_info": {"auth_type": "public", "access_token": token}, "patient_ids": ",".join(place.patients)},
    }
    for short_id in wanted or runs:
        session.run(short_id, place.url | runs[short_id.split(".")[0]], place.patient())
    return session.failed


def token_of(session, name="smart_auth_info"):
    token = session.known()[name]
    return json.loads(token) if isinstance(token, str) else token


SUITES = {
    "smart_stu2_2": smart,
    "g10": g10,
    "us_core": us_core,
    "us_core_7": us_core_7,
    "bulk": bulk,
    "brands": brands,
    "ipa": ipa,
}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("suite", choices=SUITES)
    options.add_argument("--inferno", default="http://localhost:4567", help="where Inferno answers")
    options.add_argument("--server", default="http://localhost:8080", help="the server's base URL")
    options.add_argument("--program", default="tributary", help="the program, for accounts and clients")
    options.add_argument("--practitioner", required=True, help="logical id of one who cares for the patients")
    options.add_argument("--patients", default="85,355,907", help="logical ids; the first signs in")
    options.add_argument("--group", action="append", help="short id of a group; all where none is given")
    options = options.parse_args()
    sys.exit(SUITES[options.suite](Place(options), options.group))


if __name__ == "__main__":
    main()
