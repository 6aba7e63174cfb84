// A site for pages to show: nodes in racks and groups, images with a history, cloud-init, a secret, machines that wait.

export const fill = async (head, size) => {
  if (size === 0) return;
  const racks = size > 100 ? 40 : 2;
  const nodes = Array.from({ length: size }, (_, at) => {
    const rack = 1000 + Math.floor(at / Math.ceil(size / racks));
    const mac = `02:53:57:00:${(at >> 8).toString(16).padStart(2, "0")}:${(at & 255).toString(16).padStart(2, "0")}`;
    const address = `172.16.${1 + Math.floor(at / 250)}.${1 + (at % 250)}`;
    return { op: "put", kind: "node", name: `nid${String(at + 1).padStart(3, "0")}`, value: {
      name: `nid${String(at + 1).padStart(3, "0")}`, nid: at + 1, xname: `x${rack}c0s${at}b0n0`, arch: "x86_64",
      groups: at % 9 === 8 ? ["login"] : ["compute"], role: at % 9 === 8 ? "Application" : "Compute",
      interfaces: [{ name: "eth0", mac, addresses: [address] }],
    } };
  });
  for (let at = 0; at < nodes.length; at += 1000) head.api("POST", "/api/v1/batch", { operations: nodes.slice(at, at + 1000) });
  head.api("PATCH", "/api/v1/groups/compute", { description: "Nodes that compute", priority: 10 });
  for (const seed of [1, 2, 3]) head.image(`compute:2026-11-2${seed}`, seed);
  const [first, , third] = head.api("GET", "/api/v1/images").sort((a, b) => a.created.localeCompare(b.created));
  head.api("PUT", "/api/v1/image-tags/compute:prod", { image: `compute@${first.version}` });
  head.api("PUT", "/api/v1/image-tags/compute:prod", { image: `compute@${third.version}` });
  head.api("PUT", "/api/v1/profiles/compute", { description: "What compute nodes boot", target: { image: "compute:prod", params: "quiet" } });
  head.api("PUT", "/api/v1/profiles/rescue", { description: "A shell in memory", target: { kernel: "http://172.16.0.254:8081/images/vmlinuz", initrds: ["http://172.16.0.254:8081/images/initrd"], params: "rescue" } });
  head.api("PUT", "/api/v1/boot", { whom: { set: "@compute" }, profile: "compute" });
  head.api("PUT", "/api/v1/boot", { whom: { default: true }, profile: "rescue" });
  head.api("PUT", "/api/v1/cloud-init/groups/compute", {
    description: "Slurm and the time", meta_data: { slurm_control: "head", ntp: "172.16.0.254" },
    file: { content: "#cloud-config\nruncmd:\n  - [systemctl, start, slurmd]\nntp:\n  servers: [172.16.0.254]\n", encoding: "plain", filename: "" },
  });
  head.api("PUT", "/api/v1/secrets/munge", { what: { munge_key: null }, generate: true });
  head.api("PUT", "/api/v1/secrets/tls@group:login", { min_level: "2", what: { file: { path: "/etc/ssl/private/login.key" } }, generate: true });
  head.user("bob", "operator");
  head.api("POST", "/api/v1/tokens", { subject: "ci", role: "operator", name: "nightly images", areas: ["images"] });
  // Some of the nodes boot; three machines more than are declared wait in the inbox.
  await head.swarm(Math.min(size, 6), 1);
};

export const waiting = async (head, size, count) => {
  // Machines of a swarm have consecutive hardware addresses: those behind the declared ones are unknown.
  await head.swarm(size + count, 1);
};

export const PAGES = (size) => [
  ["now", "/ui/"],
  ["now-group", "/ui/?by=group"],
  ["nodes", "/ui/nodes"],
  ...(size ? [["node", "/ui/nodes/nid001"], ["image", "/ui/images/compute"], ["group", "/ui/groups/login"], ["profile", "/ui/boot/compute"], ["cloud-init-group", "/ui/cloud-init/compute"]] : []),
  ["new-node", "/ui/new-node"],
  ["inbox", "/ui/inbox"],
  ["import", "/ui/import"],
  ["images", "/ui/images"],
  ["boot", "/ui/boot"],
  ["new-profile", "/ui/boot/new"],
  ["cloud-init", "/ui/cloud-init"],
  ["groups", "/ui/groups"],
  ["networks", "/ui/networks"],
  ["leases", "/ui/leases"],
  ["trust", "/ui/trust"],
  ["secrets", "/ui/secrets"],
  ["audit", "/ui/audit"],
  ["people", "/ui/people"],
  ["settings", "/ui/settings"],
  ["account", "/ui/account"],
];
