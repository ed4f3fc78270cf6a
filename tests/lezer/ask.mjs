// Reads a JSON array of expressions from stdin, and writes an array of the same length: where
// lezer-promql sees its first error, in code points from the start, or -1 where it sees none.
// The only argument is a directory below which the package is installed.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const { parser } = createRequire(join(process.argv[2], "x.cjs"))("@prometheus-io/lezer-promql");

function firstError(text) {
  let found = -1;
  parser.parse(text).iterate({
    enter(node) {
      if (node.type.isError && (found < 0 || node.from < found)) {
        found = node.from;
      }
    },
  });
  return found < 0 ? -1 : [...text.slice(0, found)].length;
}

const texts = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(texts.map(firstError)));
