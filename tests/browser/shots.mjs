// Pictures of every page with 0, 9 and 5,000 nodes, light and dark, wide and narrow: for people to look at.
//   shots.mjs [SIZE...] [PAGE...]

import { mkdirSync } from "node:fs";
import { Head, close, pause, signIn, window } from "./head.mjs";
import { fill, PAGES } from "./site.mjs";

const out = process.env.MUSTER_OUT;
mkdirSync(out, { recursive: true });
const words = process.argv.slice(2);
const sizes = words.filter((word) => /^\d+$/.test(word)).map(Number);
const only = words.filter((word) => !/^\d+$/.test(word));

for (const size of sizes.length ? sizes : [0, 9, 5000]) {
  const head = await Head.start();
  head.user("alice", "admin");
  await fill(head, size);
  for (const [look, scheme, viewport] of [["wide-light", "light", { width: 1280, height: 860 }], ["wide-dark", "dark", { width: 1280, height: 860 }], ["narrow-light", "light", { width: 390, height: 844 }], ["narrow-dark", "dark", { width: 390, height: 844 }]]) {
    const { page, context, sins } = await window(head, { colorScheme: scheme, viewport });
    await page.goto("/ui/login");
    if (!only.length || only.includes("login")) await page.screenshot({ path: `${out}/${size}-login-${look}.png` });
    await signIn(page);
    for (const [name, path] of PAGES(size)) {
      if (only.length && !only.includes(name)) continue;
      const began = Date.now();
      await page.goto(path, { waitUntil: "load" });
      await pause(250);
      if (Date.now() - began > 2500) console.log(`${size} ${name}: ${Date.now() - began} ms`);
      await page.screenshot({ path: `${out}/${size}-${name}-${look}.png`, fullPage: size < 100, timeout: 60_000 });
    }
    if (sins.length) console.log(look, [...new Set(sins)]);
    await context.close();
  }
  await head.stop();
}
await close();
