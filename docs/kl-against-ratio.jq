# kl-against-ratio.jq - draws the picture of the README from measured figures, as SVG:
#   jq -rsf docs/kl-against-ratio.jq docs/perplexity-mha.json docs/peer-kl.json >docs/kl-against-ratio.svg
# Both axes are logarithmic. A family is a curve: its points are the modes whose name begins with its letters.
def round1: (. * 10 | round) / 10;
def x: (80 + 740 * ((. | log) / (50 | log))) | round1;
def y: (60 + 310 * (((2 | log) - (. | log)) / ((2 | log) - (0.000008 | log)))) | round1;
def families: [
  {name: "kivi", colour: "#b26a00", title: "keys and values, 8 to 2 bits (kivi)", dx: 9, dy: 10, anchor: "start"},
  {name: "q",    colour: "#666666", title: "llama.cpp's keys and values (10 rows)", dx: -9, dy: -5, anchor: "end"},
  {name: "xq",   colour: "#1f4e8c", title: "layer inputs, 8 to 2 bits (xq)", dx: -8, dy: -7, anchor: "end"},
  {name: "cl",   colour: "#1a6b2f", title: "layer inputs as differences over depth (cl)", dx: 0, dy: 18, anchor: "middle"},
  {name: "klt",  colour: "#b3134f", title: "layer inputs, calibrated (klt)", dx: 0, dy: 18, anchor: "middle"}];
def of($rows; $name): [$rows[] | select(.mode | test("^" + $name + "[0-9]"))] | sort_by(.ratio);
def tick_x: "<path class='grid' d='M\(x) 60V370'/><text x='\(x)' y='388' text-anchor='middle'>\(.)</text>";
def tick_y($text): "<path class='grid' d='M80 \(y)H820'/><text x='72' y='\(y + 4)' text-anchor='end'>\($text)</text>";
def curve($f): . as $points
  | "<path fill='none' stroke='\($f.colour)' stroke-width='2' d='M"
    + ([$points[] | "\(.ratio | x) \(.kl | y)"] | join("L")) + "'/>",
    ($points[] | "<circle cx='\(.ratio | x)' cy='\(.kl | y)' r='4' fill='\($f.colour)'/>"
      + "<text x='\((.ratio | x) + $f.dx)' y='\((.kl | y) + $f.dy)' text-anchor='\($f.anchor)' fill='\($f.colour)'>\(.mode)</text>");
def legend($f; $i):
  "<circle cx='476' cy='\(292 + 17 * $i)' r='4' fill='\($f.colour)'/>"
  + "<text x='488' y='\(296 + 17 * $i)' fill='\($f.colour)'>\($f.title)</text>";

[.[].results[] | select(.kl > 1e-6)] as $rows | .[0] as $ours
| "<svg xmlns='http://www.w3.org/2000/svg' width='860' height='430' viewBox='0 0 860 430' font-family='Helvetica, Arial, sans-serif' font-size='12' fill='#333'>",
  "<style>.grid{stroke:#e4e4e4}</style><rect width='860' height='430' fill='#fff'/>",
  "<text x='80' y='24' font-size='15'>Divergence from exact keys and values, by the memory a context takes</text>",
  "<text x='80' y='43' fill='#666'>\($ours.model), \($ours.chunks) rows of \($ours.ctx) tokens of WikiText-2; lower and further right is better</text>",
  (1, 2, 4, 8, 16, 32 | tick_x),
  ([0.00001, "0.00001"], [0.0001, "0.0001"], [0.001, "0.001"], [0.01, "0.01"], [0.1, "0.1"], [1, "1"] | .[1] as $t | .[0] | tick_y($t)),
  "<text x='450' y='414' text-anchor='middle'>times smaller than fp16 keys and values, everything counted</text>",
  "<text transform='translate(18 215) rotate(-90)' text-anchor='middle'>mean KL divergence, nats a token</text>",
  (families[] as $f | of($rows; $f.name) | select(length > 0) | curve($f)),
  "<rect x='464' y='280' width='300' height='88' fill='#fff'/>",
  (families | to_entries[] | select((of($rows; .value.name) | length) > 0) | legend(.value; .key)),
  "</svg>"
