// Passkeys: asks the server what to ask of the authenticator, asks it, and sends the form with what it answered.
// https://www.w3.org/TR/webauthn-3/
"use strict";

const toBytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const toText = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const WORDS = {
  NotAllowedError: "That was cancelled, or took too long. Nothing was changed.",
  InvalidStateError: "This device has a passkey for your account already.",
  NotSupportedError: "This device makes no passkeys that fit.",
};

async function ask(options) {
  options.challenge = toBytes(options.challenge);
  if (!options.user) return navigator.credentials.get({ publicKey: options });
  options.user.id = toBytes(options.user.id);
  for (const known of options.excludeCredentials) known.id = toBytes(known.id);
  return navigator.credentials.create({ publicKey: options });
}

function answered(credential) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = toText(credential.response[name]);
  }
  return JSON.stringify({ type: credential.type, rawId: toText(credential.rawId), response });
}

async function submit(form) {
  const answer = await fetch(form.dataset.options, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  if (!answer.headers.get("content-type").startsWith("application/json")) {
    throw new Error("The page is too old. Load it again.");
  }
  const options = await answer.json();
  if (!answer.ok) throw new Error(options.problem);
  const credential = answered(await ask(options));
  for (const field of form.querySelectorAll("[type=password]")) field.disabled = true;
  form.elements.credential.value = credential;
  form.submit();
}

function prepare(form) {
  const [button, problem] = [form.querySelector("button"), form.querySelector(".error")];
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.hidden = true;
    try {
      await submit(form);
    } catch (error) {
      problem.querySelector("span").textContent = WORDS[error.name] ?? error.message;
      problem.hidden = false;
      button.disabled = false;
    }
  });
}

if (window.PublicKeyCredential) {
  document.querySelectorAll("form.passkey").forEach(prepare);
  document.querySelectorAll(".without-passkeys").forEach((text) => { text.hidden = true; });
}
