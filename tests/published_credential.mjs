// What the credential and the identifiers of @azure/communication-common, installed in the folder that is named, do:
// the facts under the comparison in docs, by name, as JSON. Run by published_credential.py.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";

const NAME = "@azure/communication-common";
const folder = resolve(process.argv[2]);
const official = createRequire(join(folder, "package.json"))(NAME);
const { AzureCommunicationTokenCredential } = official;

const jwtOf = (seconds) => {
  const payload = JSON.stringify({ exp: Math.floor(Date.now() / 1000) + seconds });
  return ["{}", payload, "signature"].map((part) => Buffer.from(part).toString("base64url")).join(".");
};
const source = (make) => {
  const fetch = async (signal) => {
    fetch.calls += 1;
    return make(signal);
  };
  return Object.assign(fetch, { calls: 0 });
};
const down = () => Promise.reject(new Error("down"));

const facts = {
  async fetches_once_for_all() {
    const tokenRefresher = source(() => sleep(10, jwtOf(3600)));
    const credential = new AzureCommunicationTokenCredential({ tokenRefresher });
    await Promise.all(Array.from({ length: 50 }, () => credential.getToken()));
    return tokenRefresher.calls === 1;
  },
  async is_proactive_unless_told_otherwise() {
    const tokenRefresher = source(() => jwtOf(3600));
    new AzureCommunicationTokenCredential({ tokenRefresher });
    await setImmediate();
    await sleep(50);
    return tokenRefresher.calls > 0;
  },
  async gives_a_valid_token_while_the_source_fails() {
    const token = jwtOf(30);
    const credential = new AzureCommunicationTokenCredential({ tokenRefresher: source(down), token });
    return (await credential.getToken()).token === token;
  },
  async goes_on_for_others_when_one_caller_aborts() {
    const aborted = (signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
    const credential = new AzureCommunicationTokenCredential({ tokenRefresher: source(aborted) });
    const controller = new AbortController();
    const calls = [credential.getToken({ abortSignal: controller.signal }), credential.getToken()];
    controller.abort();
    return (await Promise.allSettled(calls))[1].status === "fulfilled";
  },
  async refuses_an_expired_token() {
    const given = await new AzureCommunicationTokenCredential(jwtOf(-60)).getToken().catch(() => null);
    return given === null;
  },
  async refuses_after_its_end() {
    const credential = new AzureCommunicationTokenCredential(jwtOf(3600));
    credential.dispose();
    return (await credential.getToken().catch(() => null)) === null;
  },
  async waits_for_the_end_of_a_token_of_sixty_days() {
    const tokenRefresher = source(() => jwtOf(60 * 86400));
    const credential = new AzureCommunicationTokenCredential({ tokenRefresher, refreshProactively: true });
    await sleep(200);
    credential.dispose();
    return tokenRefresher.calls <= 2;
  },
  survives_a_failed_refresh_in_the_background() {
    const done = spawnSync(process.execPath, [process.argv[1], folder, "fail"], { encoding: "utf8" });
    return !(done.status === 1 && done.stderr.includes("down"));
  },
  has_identifiers_equal_by_value() {
    const [one, other] = [0, 1].map(() => official.createIdentifierFromRawId("8:orgid:a"));
    return new Set([one, other]).size === 1;
  },
  keeps_the_key_out_of_errors() {
    try {
      official.parseClientArguments("accesskey=hunter2;endpoint=https://contoso.communication.azure.com");
    } catch (error) {
      return !error.message.includes("hunter2");
    }
    return null;
  },
  names_what_a_wire_model_lacks() {
    try {
      official.deserializeCommunicationIdentifier({ kind: "phoneNumber", phoneNumber: { value: "+1" } });
    } catch (error) {
      return error.message.includes("rawId");
    }
    return false;
  },
};

if (process.argv[3] === "fail") {
  new AzureCommunicationTokenCredential({ tokenRefresher: down, refreshProactively: true });
} else {
  const found = {};
  for (const [name, fact] of Object.entries(facts)) {
    found[name] = await fact();
  }
  process.stdout.write(JSON.stringify(found));
}
