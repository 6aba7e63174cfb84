// A real daemon and a real Chromium beside it, for one test. What a page must never do fails any test: a breach of
// the Content-Security-Policy, an error of a script, a request to another host.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync, readFileSync, mkdirSync, openSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const tools = createRequire(join(process.env.MUSTER_BROWSER_TOOLS, "package.json"));
export const { chromium } = tools("playwright-core");
export const AXE = readFileSync(tools.resolve("axe-core/axe.min.js"), "utf8");
export const PASSWORD = "correct horse battery";

const MUSTER = process.env.MUSTER;
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let ports = 18_000;

export class Head {
  // `claim`: it waits for its first visitor.
  static async start({ claim = false, loaders = "" } = {}) {
    const head = new Head();
    head.folder = mkdtempSync(join(tmpdir(), "muster-page-"));
    [head.secure, head.plain] = [(ports += 1), (ports += 1)];
    const folder = (name, files = {}) => {
      mkdirSync(join(head.folder, name), { recursive: true });
      for (const [file, octets] of Object.entries(files)) writeFileSync(join(head.folder, name, file), Buffer.alloc(octets, 7));
      return join(head.folder, name);
    };
    const boot = folder("loaders", { "snponly.efi": 40_000, "undionly.kpxe": 40_000, "ipxe.efi": 40_000 });
    const www = folder("www", { vmlinuz: 300_000, initrd: 300_000, "root.squashfs": 2_000_000 });
    writeFileSync(join(head.folder, "muster.toml"), `
[cluster]
name = "demo"
domain = "demo.example"
[auth]
claim = "${claim ? "required" : "off"}"
[http]
listen = ["172.16.0.254:8081"]
[https]
listen = ["127.0.0.1:${head.secure}"]
[tftp]
listen = ["172.16.0.254:69"]
[dns]
listen = []
[log]
level = "info"
[images]
root = "${www}"
[loaders]
directories = ["${boot}"]
[[network]]
name = "boot"
interface = "eth0"
address = "172.16.0.254/18"
manage = true
range = ["172.16.62.0-172.16.63.250"]
`);
    head.log = join(head.folder, "log");
    const out = openSync(head.log, "a");
    head.daemon = spawn(MUSTER, [...head.place(), "serve"], { stdio: ["ignore", out, out] });
    for (let turn = 0; turn < 600; turn += 1) {
      try { head.cli("status"); return head; } catch { await pause(50); }
      if (head.daemon.exitCode !== null) break;
    }
    throw new Error(`the daemon does not answer:\n${readFileSync(head.log, "utf8").slice(-3000)}`);
  }

  place() { return ["--config", join(this.folder, "muster.toml"), "--data-dir", join(this.folder, "data")]; }

  get url() { return `https://127.0.0.1:${this.secure}`; }

  // The command line on the head; its output.
  cli(...words) { return execFileSync(MUSTER, [...this.place(), ...words], { encoding: "utf8", stdio: ["pipe", "pipe", "pipe"] }); }

  json(...words) { return JSON.parse(this.cli("--json", ...words)); }

  // The API over the socket.
  api(method, path, body) {
    const words = ["-sS", "--fail-with-body", "--unix-socket", join(this.folder, "data/muster.sock"), "-X", method, `http://head${path}`];
    if (body !== undefined) words.push("-H", "content-type: application/json", "--data-binary", "@-");
    const text = execFileSync("curl", words, { encoding: "utf8", input: body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body), maxBuffer: 1 << 28 });
    return text ? JSON.parse(text) : null;
  }

  user(name, role) { this.api("POST", "/api/v1/users", { name, role, password: PASSWORD }); }

  // Simulated machines on the boot network: MACs 02:53:57:00:00:00 and on.
  swarm(nodes, within = 1) {
    const scenario = join(this.folder, "storm.toml");
    writeFileSync(scenario, `nodes = ${nodes}\ngive_up_s = 40\nattempts = 4\n[start]\nwithin_s = ${within}\n[firmware]\nuefi = 1\n[think]\nloader = "1-20"\nkernel = "1-20"\nsystem = "1"\n`);
    const words = ["netns", "exec", process.env.MUSTER_CLIENTS, MUSTER, "swarm", "--json", "--scenario", scenario, "--lab-interface", "eth0"];
    return new Promise((resolve) => {
      const child = this.swarming = spawn("ip", words, { stdio: ["ignore", "pipe", "ignore"] });
      let text = "";
      child.stdout.on("data", (piece) => { text += piece; });
      child.on("close", () => resolve(text));
    });
  }

  // An image of files that differ by their seed.
  image(name, seed) {
    const folder = join(this.folder, `image-${seed}`);
    mkdirSync(folder, { recursive: true });
    const file = (name, magic, size) => writeFileSync(join(folder, name), Buffer.concat([Buffer.from(magic), Buffer.alloc(size, String(seed))]));
    const kernel = Buffer.alloc(20_000, String(seed));
    kernel.write("MZ", 0); kernel.set([0x55, 0xaa], 0x1fe); kernel.write("HdrS", 0x202);
    kernel.set([0x0f, 0x02], 0x206); kernel.set([0x00, 0x10], 0x20e);
    kernel.write("6.1.0-28-amd64 (debian) #1 SMP\0", 0x1200);
    writeFileSync(join(folder, "vmlinuz-6.1.0-28-amd64"), kernel);
    file("initramfs-6.1.0-28-amd64.img", "070701", 50_000);
    file("rootfs-6.1.0-28-amd64", "hsqs", 300_000);
    return this.json("image", "import", name, folder, "--params", "ip=dhcp console=ttyS0");
  }

  async stop() {
    for (const child of [this.swarming, this.daemon]) {
      if (!child || child.exitCode !== null || child.signalCode !== null) continue;
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await gone;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

let browser;
export const browse = async () => browser ??= await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
export const close = async () => { await browser?.close(); browser = undefined; };

// A window of the browser that reports whatever no page may do.
export const window = async (head, options = {}) => {
  const context = await (await browse()).newContext({ ignoreHTTPSErrors: true, baseURL: head.url, viewport: { width: 1280, height: 900 }, ...options });
  // To try files of the page before they are built in.
  const files = process.env.MUSTER_ASSETS;
  if (files) await context.route("**/ui/assets/**", (route) => route.fulfill({ path: join(files, route.request().url().split("/").pop()) }));
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const sins = [];
  page.on("console", (line) => {
    if (/content security policy|refused to/i.test(line.text())) sins.push(line.text());
  });
  page.on("pageerror", (error) => sins.push(`${error}`));
  page.on("request", (request) => { if (!request.url().startsWith(head.url)) sins.push(`a request to ${request.url()}`); });
  return { page, context, sins };
};

export const signIn = async (page, name = "alice", password = PASSWORD) => {
  await page.goto("/ui/login?next=/ui/settings");
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/ui/settings");
};

// What axe finds serious.
export const serious = async (page) => {
  // The policy of the page forbids scripts that are put into it; the debugger's may look.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  return grave.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} (${node.failureSummary?.replace(/\s+/g, " ").slice(0, 200)})`).join("; ")}`);
};
