// What every page does in a browser that runs scripts: times in the local zone, fields that come to life,
// filters, and the parts that follow what happens. Without this file every page can still be read.

import { awaken } from "./forms.js";
import { follow } from "./live.js";
import { tell } from "./times.js";
import { steer } from "./grid.js";
import { sift } from "./sift.js";

const start = (root) => {
  tell(root);
  sift(root);
  steer(root);
};

awaken(document);
start(document);
follow(start);
setInterval(() => tell(document), 30_000);

// A module of its own for the few pages that have one.
const own = document.querySelector("main")?.dataset.module;
if (own) import(`./${own}.js`).then((module) => module.default());
