// What @azure/communication-identity, installed in the folder that is named, does with a resource, and what comes of
// it. The resource is on standard input. Run by published_client.py.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const NAME = "@azure/communication-identity";
const folder = resolve(process.argv[2]);
const { CommunicationIdentityClient } = createRequire(join(folder, "package.json"))(NAME);
const { version } = JSON.parse(readFileSync(join(folder, "node_modules", NAME, "package.json"), "utf8"));

const { connectionString, teamsUser } = JSON.parse(readFileSync(0, "utf8"));
const client = new CommunicationIdentityClient(connectionString);

const told = ({ token, expiresOn }) => ({ token, expires_on: expiresOn.toISOString() });
const refusal = async (call) => {
  try {
    await call();
  } catch ({ statusCode, code }) {
    return [statusCode, code];
  }
  return null;
};

const alone = await client.createUser();
const both = await client.createUserAndToken(["chat", "voip"], { tokenExpiresInMinutes: 60 });
const { user } = both;
const issued = await client.getToken(user, ["chat"], { tokenExpiresInMinutes: 90 });
await client.revokeTokens(user);
const newer = await client.getToken(user, ["voip"]);
await client.deleteUser(alone);
const deleted = await refusal(() => client.getToken(alone, ["chat"]));
const teams = await client.getTokenForTeamsUser(teamsUser);
const foreign = await refusal(() => client.getTokenForTeamsUser({ ...teamsUser, clientId: "another" }));
const long = await refusal(() => client.getToken(user, ["chat"], { tokenExpiresInMinutes: 2000 }));

process.stdout.write(
  JSON.stringify({
    package: NAME,
    version,
    users: [alone, user].map((each) => each.communicationUserId),
    tokens: { both: told(both), issued: told(issued), newer: told(newer), teams: told(teams) },
    refusals: { deleted, foreign, long },
  }),
);
