// fhir-kit-client as a backend service, in two steps:
//   node kit.mjs key FOLDER                    makes a key there, prints the public half as a JWK Set
//   node kit.mjs call FOLDER BASE CLIENT_ID    discovery, a token for an assertion, reads and searches; prints JSON
// It runs in the folder in which the libraries are installed.
import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.cwd()}/`);
const installed = async (name) => import(pathToFileURL(`${process.cwd()}/node_modules/${name}`));
const jose = require("jose");
const { Client } = await installed("fhir-kit-client/dist/index.js");
const [, , step, folder, base, clientId] = process.argv;

if (step === "key") {
  const pair = await jose.generateKeyPair("ES384", { extractable: true });
  writeFileSync(`${folder}/key.json`, JSON.stringify(await jose.exportJWK(pair.privateKey)), { mode: 0o600 });
  const named = { ...(await jose.exportJWK(pair.publicKey)), kid: "kit", use: "sig", alg: "ES384" };
  console.log(JSON.stringify({ keys: [named] }));
} else {
  const client = new Client({ baseUrl: base });
  const { authorizeUrl, tokenUrl } = await client.smartAuthMetadata();
  const statement = await client.capabilityStatement();
  const key = await jose.importJWK(JSON.parse(readFileSync(`${folder}/key.json`)), "ES384");
  const assertion = await new jose.SignJWT({})
    .setProtectedHeader({ alg: "ES384", kid: "kit", typ: "JWT" })
    .setIssuer(clientId).setSubject(clientId).setAudience(tokenUrl.href).setJti(randomUUID())
    .setIssuedAt().setExpirationTime("4m").sign(key);
  const answer = await fetch(tokenUrl, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "client_credentials",
      scope: "system/Patient.rs",
      client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
      client_assertion: assertion,
    }),
  });
  const token = await answer.json();
  client.bearerToken = token.access_token;
  const patient = await client.read({ resourceType: "Patient", id: "p1" });
  const first = await client.search({ resourceType: "Patient", searchParams: { _count: 1, _sort: "birthdate" } });
  const second = await client.nextPage({ bundle: first });
  const refused = await client.search({ resourceType: "Observation" }).then(() => "answered", (error) => error.response.status);
  console.log(JSON.stringify({
    authorizeUrl, tokenUrl, fhirVersion: statement.fhirVersion, scope: token.scope, name: patient.name[0].text,
    pages: [first, second].map((page) => page.entry.length), refused,
  }));
}
