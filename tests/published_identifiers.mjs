// What @azure/communication-common, installed in the folder that is named, makes of the raw ids and wire models on
// standard input. Run by published_identifiers.py.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const NAME = "@azure/communication-common";
const folder = resolve(process.argv[2]);
const official = createRequire(join(folder, "package.json"))(NAME);
const { version } = JSON.parse(readFileSync(join(folder, "node_modules", NAME, "package.json"), "utf8"));

const ATTRIBUTES = {
  communicationUserId: "id",
  phoneNumber: "value",
  microsoftTeamsUserId: "user_id",
  teamsAppId: "app_id",
};
const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const told = (identifier) => {
  const { kind, rawId, ...attributes } = identifier;
  return {
    kind: snake(kind),
    raw_id: official.getIdentifierRawId(identifier),
    attributes: Object.fromEntries(Object.entries(attributes).map(([name, value]) => [ATTRIBUTES[name] ?? snake(name), value])),
  };
};

const { raw_ids, models } = JSON.parse(readFileSync(0, "utf8"));
const writes = raw_ids.map((rawId) => {
  const identifier = official.createIdentifierFromRawId(rawId);
  return { ...told(identifier), wire: official.serializeCommunicationIdentifier(identifier) };
});
const reads = models.map((wire) => ({ ...told(official.deserializeCommunicationIdentifier(wire)), wire }));
process.stdout.write(JSON.stringify({ package: NAME, version, writes, reads }));
