// The admin page in a real Chromium: what its people do, and what no page may do.

import { readFileSync } from "node:fs";
import { Head, PASSWORD, close, pause, serious, signIn, window } from "./head.mjs";
import { PAGES, fill } from "./site.mjs";

const cases = [];
const test = (name, run) => cases.push([name, run]);
const is = (got, wanted, what = "") => { if (got !== wanted) throw new Error(`${what} is ${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`); };
const holds = (fact, what) => { if (!fact) throw new Error(what); };
const until = async (fact) => { for (let turn = 0; turn < 200; turn += 1) { if (fact()) return; await pause(50); } throw new Error(`not in time: ${fact}`); };
const holding = async (text, run) => { const got = await run(); if (!got.includes(text)) throw new Error(`${JSON.stringify(text)} is not in ${JSON.stringify(got)}`); };

// Runs against a head, with windows whose sins fail the test.
const on = (options, run) => async () => {
  const head = await Head.start(options);
  const open = [];
  try {
    await run(head, async (more) => { const one = await window(head, more); open.push(one); return one.page; });
    const sins = open.flatMap(({ sins }) => sins);
    holds(sins.length === 0, `no page may do this: ${[...new Set(sins)].join("\n")}`);
  } catch (error) {
    const shown = open.at(-1)?.page;
    const seen = await shown?.locator("body").innerText().catch(() => "");
    throw new Error(`${error.message}\n  at ${shown?.url()}\n  which shows: ${seen?.replace(/\s+/g, " ").slice(0, 700)}\n  log: ${readFileSync(head.log, "utf8").split("\n").slice(-6).join("\n")}`);
  } finally {
    await Promise.all(open.map(({ context }) => context.close()));
    await head.stop();
  }
};

test("a new head is claimed with the code of its console, and then it is the visitor's", on({ claim: true }, async (head, open) => {
  const page = await open();
  is((await page.goto("/")).status(), 503, "a head without an owner");
  const code = readFileSync(`${head.folder}/data/claim`, "utf8").trim();
  const claim = async (code) => {
    await page.getByLabel("Code").fill(code);
    await page.getByLabel("Your name").fill("alice");
    await page.getByLabel("A password").fill(PASSWORD);
    await page.getByRole("button", { name: "Claim" }).click();
  };
  await claim("0000-0000");
  await page.getByRole("alert").getByText("not the code").waitFor();
  is((await serious(page)).join("\n"), "", "what axe finds");
  await claim(code);
  await page.getByRole("heading", { name: "This head is yours" }).waitFor();
  is((await serious(page)).join("\n"), "", "what axe finds");
  // It starts again, as a head with an owner.
  await until(() => readFileSync(head.log, "utf8").includes("as a head with an owner"));
  await until(() => { try { head.cli("status"); return true; } catch { return false; } });
  await signIn(page);
  await page.goto("/ui");
  await page.getByRole("heading", { name: "This head knows no nodes yet" }).waitFor();
  await page.goto("/ui/claim");
  is(new URL(page.url()).pathname.replace(/\/$/, ""), "/ui", "the claim page of a head that has an owner");
}));

test("people sign in, go on where they wanted to go, and sign out", on({}, async (head, open) => {
  head.user("alice", "admin");
  const page = await open();
  is((await page.goto("/ui/groups")).status(), 401, "a page without a session");
  await page.getByLabel("Name").fill("alice");
  await page.getByLabel("Password").fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").getByText("No user has this name").waitFor();
  is(await page.getByLabel("Name").inputValue(), "alice", "the name that was typed");
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/ui/groups");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL("**/ui/login");
  is((await page.goto("/ui/nodes")).status(), 401, "a page after the session");
}));

test("an import shows its problems where they are, then what would change, and applies it", on({}, async (head, open) => {
  head.user("alice", "operator");
  const page = await open();
  await signIn(page);
  await page.goto("/ui/import");
  const document = page.getByLabel("Or paste it");
  await document.fill("name,mac,ip\nnid001,02:53:57:00:00:00,172.16.1.1\nnid002,02:53:57:00:00,172.16.1.2\n");
  const outcome = page.locator("#outcome");
  await outcome.getByRole("heading", { name: "problem" }).waitFor();
  await holding("line 3", () => outcome.innerText());
  await holding("nid002", () => outcome.innerText());
  is(head.api("GET", "/api/v1/nodes").length, 0, "nodes after a document with problems");
  await page.setInputFiles("#file", { name: "nodes.csv", mimeType: "text/csv", buffer: Buffer.from("name,mac,ip\nnid001,02:53:57:00:00:00,172.16.1.1\nnid002,02:53:57:00:00:01,172.16.1.2\n") });
  await outcome.getByText("2 added").waitFor();
  is(head.api("GET", "/api/v1/nodes").length, 0, "nodes before it is applied");
  await outcome.getByRole("button", { name: "Apply" }).click();
  await page.waitForURL("**/ui/nodes");
  await page.getByRole("link", { name: "nid002" }).waitFor();
  is(head.api("GET", "/api/v1/nodes").length, 2, "nodes after the import");
}));

test("machines that wait are declared from the inbox, as the preview says", on({}, async (head, open) => {
  head.user("alice", "operator");
  head.api("POST", "/api/v1/nodes", { name: "nid001", interfaces: [] });
  const page = await open();
  await signIn(page);
  await page.goto("/ui/inbox");
  await page.getByText("Nobody waits").waitFor();
  await page.getByText("Choose at least one machine").waitFor();
  // The page follows what happens.
  head.swarm(3);
  await page.getByRole("checkbox", { name: "Choose 02:53:57:00:00:02" }).waitFor({ timeout: 30_000 });
  for (const end of ["00", "02"]) await page.getByRole("checkbox", { name: `Choose 02:53:57:00:00:${end}` }).check();
  await page.getByLabel("First number").fill("1");
  await page.getByText("nid001 is declared already").waitFor();
  await page.getByLabel("First number").fill("7");
  await page.getByLabel("First address").fill("172.16.1.255");
  await page.getByLabel("Groups").fill("compute");
  const preview = page.locator("#preview");
  await preview.getByText("172.16.2.0").waitFor();
  // In the order in which they were first seen, whichever that was.
  const shown = await preview.locator("tr").allInnerTexts();
  await page.getByRole("button", { name: "Declare 2 machines" }).click();
  await page.waitForURL("**/ui/nodes");
  const node = head.api("GET", "/api/v1/nodes/nid008");
  holds(shown.length === 2 && shown[1].includes("nid008") && shown[1].includes(node.interfaces[0].mac), `as the preview said: ${shown}`);
  is(JSON.stringify([node.nid, node.groups, node.interfaces[0].addresses]), '[8,["compute"],["172.16.2.0"]]', "what it is");
}));

test("an image is promoted and rolled back", on({}, async (head, open) => {
  head.user("alice", "operator");
  head.api("POST", "/api/v1/nodes", { name: "nid001", interfaces: [{ mac: "02:53:57:00:00:00", addresses: ["172.16.1.1"] }] });
  const [one, two] = [1, 2].map((seed) => head.image(`compute:v${seed}`, seed));
  head.api("PUT", "/api/v1/image-tags/compute:prod", { image: `compute@${one.version}` });
  head.api("PUT", "/api/v1/boot", { whom: { default: true }, target: { image: "compute:prod" } });
  const named = () => head.api("GET", "/api/v1/image-tags/compute:prod").version;
  const page = await open();
  await signIn(page);
  await page.goto("/ui/images/compute");
  const card = page.locator("section.card", { has: page.getByRole("heading", { name: two.version.slice(7, 19) }) });
  await card.getByText("Promote or remove").click();
  await card.getByLabel("Tag").fill("prod");
  await card.getByText("This changes tag compute:prod").waitFor();
  is(named(), one.version, "the tag before it is moved");
  await card.getByRole("button", { name: "Promote" }).click();
  await page.getByText("Promoted.").waitFor();
  is(named(), two.version, "the tag after it was promoted");
  await card.getByText("1 node would boot it").waitFor();
  await page.goto("/ui/images");
  await page.getByRole("row", { name: "compute:prod" }).getByRole("button", { name: "Roll back" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Roll back" }).click();
  await page.getByText("Rolled back.").waitFor();
  is(named(), one.version, "the tag after it was rolled back");
}));

test("a node that boots is seen booting, without a reload", on({}, async (head, open) => {
  head.user("alice", "viewer");
  head.api("POST", "/api/v1/nodes", { name: "nid001", interfaces: [{ mac: "02:53:57:00:00:00", addresses: ["172.16.1.1"] }] });
  head.api("PUT", "/api/v1/boot", { whom: { default: true }, target: { kernel: "http://172.16.0.254:8081/images/vmlinuz", initrds: ["http://172.16.0.254:8081/images/initrd"] } });
  const page = await open();
  await signIn(page);
  await page.goto("/ui");
  const tile = page.locator(".grid a", { hasText: "nid001" });
  await tile.getByText("quiet").waitFor();
  await page.evaluate(() => { globalThis.stayed = true; });
  const report = await head.swarm(1);
  await page.locator(".grid a.loading, .grid a.up", { hasText: "nid001" }).waitFor();
  await page.getByText("nid001 asks for its script").first().waitFor();
  is(await page.evaluate(() => globalThis.stayed), true, "that the page stayed");
  holds(report.length > 0, "the swarm reports");
}));

test("problems stand beside their fields while somebody types, and what is saved is saved", on({}, async (head, open) => {
  head.user("alice", "operator");
  head.api("POST", "/api/v1/nodes", { name: "nid001", interfaces: [{ mac: "02:53:57:00:00:00", addresses: ["172.16.1.1"] }] });
  const page = await open();
  await signIn(page);
  await page.goto("/ui/nodes/nid001");
  const edit = page.locator("#edit");
  const mac = edit.getByLabel("MAC");
  await mac.fill("02:53:57");
  await edit.locator('[id="f-interfaces[0].mac-wrong"]').filter({ hasText: /./ }).waitFor();
  is(await mac.getAttribute("aria-invalid"), "true", "what a screen reader hears of the field");
  await mac.fill("02:53:57:00:00:09");
  await edit.getByText("This changes nid001").waitFor();
  await edit.getByLabel("Groups").fill("compute gpu");
  await edit.getByRole("button", { name: "Add an interface" }).click();
  await edit.getByLabel("MAC").nth(1).fill("02:53:57:00:00:0a");
  await edit.getByRole("button", { name: "Save" }).click();
  await page.getByText("Saved.").waitFor();
  const node = head.api("GET", "/api/v1/nodes/nid001");
  is(node.interfaces.map((one) => one.mac).join(), "02:53:57:00:00:09,02:53:57:00:00:0a", "its interfaces");
  is(node.groups.join(), "compute,gpu", "its groups");
}));

test("profiles, assignments, groups and cloud-init are written on their pages", on({}, async (head, open) => {
  head.user("alice", "operator");
  head.api("POST", "/api/v1/nodes", { name: "nid001", interfaces: [{ mac: "02:53:57:00:00:00", addresses: ["172.16.1.1"] }] });
  const page = await open();
  await signIn(page);
  await page.goto("/ui/boot/new");
  await page.getByLabel("Name").fill("compute");
  await page.getByLabel("Kernel and initrds by URL").check();
  await page.getByLabel("Kernel", { exact: true }).fill("http://172.16.0.254:8081/images/vmlinuz");
  await page.getByLabel("Kernel parameters").fill("quiet");
  await page.getByRole("button", { name: "Save" }).click();
  await page.waitForURL("**/ui/boot/compute");
  await page.goto("/ui/boot");
  await page.getByLabel("Nodes").fill("nid00");
  await page.locator('[id="f-whom.set-wrong"], [data-verdict]').filter({ hasText: "nid00" }).first().waitFor();
  await page.getByLabel("Nodes").fill("nid001");
  await page.getByRole("button", { name: "Assign" }).click();
  await page.getByRole("row", { name: "nid001" }).waitFor();
  is(head.api("GET", "/api/v1/boot?set=nid001")[0].target.params, "quiet", "what it boots");
  await page.goto("/ui/groups");
  await page.getByLabel("Name").fill("gpu");
  await page.getByRole("button", { name: "Make" }).click();
  await page.waitForURL("**/ui/groups/gpu");
  await page.getByLabel("Nodes").fill("nid001");
  await page.getByRole("button", { name: "Add" }).click();
  await page.getByText("1 member").waitFor();
  await page.goto("/ui/cloud-init/gpu");
  await page.getByLabel("File").fill("#cloud-config\nruncmd: [\n");
  await page.locator(".verdict, .wrong").filter({ hasText: /line/i }).first().waitFor();
  await page.getByLabel("File").fill("#cloud-config\nruncmd: [uptime]\n");
  await page.getByLabel("Values for templates").fill("cuda: 12\nname: x");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Saved.").waitFor();
  const data = head.api("GET", "/api/v1/cloud-init/groups/gpu");
  is(JSON.stringify([data.meta_data, data.file.content]), '[{"cuda":12,"name":"x"},"#cloud-config\\nruncmd: [uptime]\\n"]', "what the group lends");
}));

test("who may only read finds nothing to press, and administrators' pages are closed", on({}, async (head, open) => {
  head.user("eve", "viewer");
  await fill(head, 9);
  const page = await open();
  await signIn(page, "eve");
  for (const [name, path] of PAGES(9)) {
    const answer = await page.goto(path);
    if (["audit", "people"].includes(name)) { is(answer.status(), 403, name); continue; }
    is(answer.status(), 200, name);
    if (["new-node", "new-profile", "account"].includes(name)) continue;
    is(await page.locator("button[data-api], form[data-api]").count(), 0, `things to press on ${name}`);
  }
}));

test("every page can be read without scripts", on({}, async (head, open) => {
  head.user("alice", "admin");
  await fill(head, 9);
  const page = await open({ javaScriptEnabled: false });
  await signIn(page);
  await page.goto("/ui");
  await page.getByRole("link", { name: "nid001" }).first().waitFor();
  for (const [name, path] of PAGES(9)) {
    is((await page.goto(path)).status(), 200, name);
    holds((await page.locator("main h1").innerText()).length > 0, `${name} has a heading`);
    is(await page.locator("button[data-api]:enabled, form[data-api] button:enabled").count() > 0 && name === "import", false, name);
  }
  await page.goto("/ui/nodes?q=nid003");
  is(await page.locator("tbody tr").count(), 1, "nodes that are found");
}));

test("what others wrote is text on every page", on({}, async (head, open) => {
  head.user("alice", "admin");
  const evil = "<img src=x onerror=alert(1)><script>alert(2)</script>";
  head.api("PUT", "/api/v1/groups/compute", { description: evil, annotations: { note: evil } });
  head.api("POST", "/api/v1/nodes", { name: "nid001", role: evil, groups: ["compute"], annotations: { [evil]: evil }, interfaces: [{ mac: "02:53:57:00:00:00", name: evil, addresses: [] }] });
  head.api("PUT", "/api/v1/profiles/p", { description: evil, target: { script: `#!ipxe\necho ${evil}` } });
  head.api("PUT", "/api/v1/boot", { whom: { set: "nid001" }, profile: "p" });
  head.api("PUT", "/api/v1/cloud-init/groups/compute", { description: evil, meta_data: { a: evil }, file: { content: `#cloud-config\nfinal_message: |\n  </textarea>${evil}\n` } });
  const page = await open();
  await signIn(page);
  for (const path of ["/ui", "/ui/nodes", "/ui/nodes/nid001", "/ui/groups", "/ui/groups/compute", "/ui/boot", "/ui/boot/p", "/ui/cloud-init", "/ui/cloud-init/compute", "/ui/audit", `/ui/nodes?q=${encodeURIComponent(`">${evil}`)}`, `/ui/nothing${encodeURIComponent(evil)}`]) {
    await page.goto(path);
    is(await page.locator("main img[src=x], main script").count(), 0, `markup of others on ${path}`);
  }
}));

test("the keyboard reaches everything", on({}, async (head, open) => {
  head.user("alice", "viewer");
  await fill(head, 9);
  const page = await open();
  await signIn(page);
  await page.goto("/ui/?by=none");
  await page.keyboard.press("Tab");
  is(await page.evaluate(() => document.activeElement.textContent), "Skip to content", "the first stop");
  await page.keyboard.press("Enter");
  is(await page.evaluate(() => document.activeElement.id), "main", "where it leads");
  await page.locator(".grid a").first().focus();
  await page.keyboard.press("ArrowRight");
  await holding("nid002", () => page.evaluate(() => document.activeElement.textContent));
  await page.keyboard.press("End");
  await holding("nid009", () => page.evaluate(() => document.activeElement.textContent));
  is(await page.locator('.grid a[tabindex="0"]').count(), 1, "stops in the grid");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/ui/nodes/nid009");
}));

for (const scheme of ["light", "dark"]) {
  test(`axe finds nothing serious on any page (${scheme})`, on({}, async (head, open) => {
    head.user("alice", "admin");
    await fill(head, 9);
    const swarm = head.swarm(12);
    const page = await open({ colorScheme: scheme });
    await page.goto("/ui/login");
    const found = (await serious(page)).map((one) => `login: ${one}`);
    await signIn(page);
    await swarm;
    for (const [name, path] of PAGES(9)) {
      await page.goto(path);
      await page.evaluate(() => { for (const details of document.querySelectorAll("main details")) details.open = true; });
      found.push(...(await serious(page)).map((one) => `${name}: ${one}`));
    }
    is(found.join("\n"), "", "what axe finds");
  }));
}

test("five thousand nodes are one page that comes quickly", on({}, async (head, open) => {
  head.user("alice", "viewer");
  await fill(head, 5000);
  const page = await open();
  await signIn(page);
  await page.goto("/ui");
  is(await page.locator(".grid a").count(), 5000, "nodes on the page");
  is((await serious(page)).join("\n"), "", "what axe finds");
}));

const words = process.argv.slice(2);
const chosen = cases.filter(([name]) => !words.length || words.some((word) => name.includes(word)));
let [passed, failed] = [0, 0];
for (const [name, run] of chosen) {
  const began = Date.now();
  try {
    await run();
    passed += 1;
    console.log(`ok      ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n  ${error.message}`);
  }
}
await close();
await pause(0);
console.log(`test result: ${failed ? "FAILED" : "ok"}. ${passed} passed; ${failed} failed`);
process.exit(failed || !chosen.length ? 1 : 0);
