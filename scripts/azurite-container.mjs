// Makes a container on an Azure storage emulator, or finds it there. Says the HTTP status.
//
// Shared key authorisation: the HMAC-SHA256 of the request's canonical form under the account's key.

import { createHmac } from "node:crypto";

const [endpoint, account, key, container] = process.argv.slice(2);
const date = new Date().toUTCString();
const version = "2021-12-02";
const path = `${new URL(endpoint).pathname}/${container}`;
const canonical = [
  "PUT", ...Array(11).fill(""),
  `x-ms-date:${date}`, `x-ms-version:${version}`,
  `/${account}${path}`, "restype:container",
].join("\n");
const signature = createHmac("sha256", Buffer.from(key, "base64")).update(canonical, "utf8").digest("base64");
const answer = await fetch(`${endpoint}/${container}?restype=container`, {
  method: "PUT",
  headers: {
    "x-ms-date": date,
    "x-ms-version": version,
    authorization: `SharedKey ${account}:${signature}`,
  },
});
console.log(answer.status);
