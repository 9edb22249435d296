"""Python's fhirclient as a backend service: python backend.py BASE CLIENT_ID ASSERTION. Prints JSON."""

import json
import sys

from fhirclient import client
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRPermissionDeniedException

base, client_id, assertion = sys.argv[1:]
settings = {"app_id": client_id, "api_base": base, "jwt_token": assertion, "scope": "system/Patient.rs"}
smart = client.FHIRClient(settings=settings)
smart.wants_patient = False
smart.prepare()
smart.authorize()
names = [patient.name[0].text for patient in Patient.where({"_sort": "birthdate"}).perform_resources(smart.server)]
try:
    Observation.where({}).perform_resources(smart.server)
    refused = False
except FHIRPermissionDeniedException:
    refused = True
print(json.dumps({"scope": smart.launch_context["scope"], "names": names, "refused": refused}))
