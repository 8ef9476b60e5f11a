#!/usr/bin/env bash
# Makes plot.min.js anew: the parts of Observable Plot that charts.js names, for a browser, with all licences.
# Needs npm. To be run when charts.js wants another mark or Plot has a new version:   make plot
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm install --silent --no-fund --no-audit @observablehq/plot@0.6.17 esbuild@0.28.2
marks=$(grep -oE '\bPlot\.[a-zA-Z]+' "$here/charts.js" | sed 's/Plot\.//' | sort -u | paste -sd,)
echo "export {$marks} from '@observablehq/plot';" > entry.js
npx esbuild entry.js --bundle --minify --format=iife --global-name=Plot --target=es2020 --legal-comments=none \
    --metafile=meta.json --outfile=bundle.js

# Each package that is in the bundle with its version, then each licence once.
node - > licences.txt <<'JS'
const fs = require("fs");
const inputs = Object.values(JSON.parse(fs.readFileSync("meta.json")).outputs)[0].inputs;
const parts = Object.keys(inputs).filter((path) => inputs[path].bytesInOutput && path.includes("node_modules/"));
const names = [...new Set(parts.map((path) => path.match(/.*node_modules\/((?:@[^/]+\/)?[^/]+)/)[1]))].sort();
const version = (name) => JSON.parse(fs.readFileSync(`node_modules/${name}/package.json`)).version;
const licence = (name) => fs.readdirSync(`node_modules/${name}`).find((file) => /^licen[cs]e/i.test(file));
const texts = new Map();
for (const name of names) {
  const text = fs.readFileSync(`node_modules/${name}/${licence(name)}`, "utf8");
  for (const [, holder, terms] of [...text.matchAll(/(Copyright .*)\n([^]*?)(?=\nCopyright |$)/g)].map((m) => m)) {
    const key = terms.replace(/\s+/g, " ").trim();
    texts.set(key, (texts.get(key) ?? new Set()).add(holder));
  }
}
console.log(`/*! Made by plot.sh of ${names.map((name) => `${name} ${version(name)}`).join(", ")}`);
for (const [terms, holders] of texts) console.log(`\n${[...holders].join("\n")}\n${terms}`);
console.log("*/");
JS
cat licences.txt bundle.js > "$here/plot.min.js"
wc -c "$here/plot.min.js"
