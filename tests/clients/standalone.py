"""Python's fhirclient in a standalone launch: python standalone.py BASE CLIENT_ID REDIRECT_URI.

Prints the address to send the person to, reads the address to which they came back, prints JSON.
"""

import json
import sys

from fhirclient import client
from fhirclient.models.observation import Observation

base, client_id, redirect_uri = sys.argv[1:]
scope = "openid fhirUser offline_access patient/Patient.rs patient/Observation.rs"
settings = {"app_id": client_id, "api_base": base, "redirect_uri": redirect_uri, "scope": scope}
smart = client.FHIRClient(settings=settings)
smart.prepare()
print(smart.authorize_url, flush=True)
smart.handle_callback(sys.stdin.readline().strip())
name = smart.patient.name[0].text
before = smart.server.auth.access_token
renewed = smart.reauthorize() and smart.server.auth.access_token != before
found = Observation.where({"subject": smart.patient_id}).perform_resources(smart.server)
print(json.dumps({"name": name, "renewed": renewed, "observations": [it.code.text for it in found]}))
