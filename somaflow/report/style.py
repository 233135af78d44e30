"""How the report looks: a page to be read, on a screen of any width, in the dark and on paper."""

LIGHT = {
    "ground": "#ffffff",
    "raised": "#f4f6f8",
    "ink": "#1b1f27",
    "muted": "#565e6b",
    "line": "#d6dae0",
    "link": "#00588c",
    "warning-ground": "#fdf1e7",
    "warning-ink": "#7a2e00",
    "warning-line": "#d55e00",
}
"""Colours by name, as custom properties."""
DARK = {
    "ground": "#15181d",
    "raised": "#1f242b",
    "ink": "#e7eaef",
    "muted": "#a7afbb",
    "line": "#3a414c",
    "link": "#7cc4f5",
    "warning-ground": "#33210f",
    "warning-ink": "#ffd2a8",
    "warning-line": "#e69f00",
}

_RULES = """
*, *::before, *::after { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  overflow-wrap: anywhere;
}
a { color: var(--link); text-underline-offset: .15em; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 2px; }
.skip { position: absolute; left: -100vw; top: 0; background: var(--ground); padding: .6rem 1rem; }
.skip:focus { left: 0; z-index: 2; }
header, main, footer { padding: 0 1.25rem; }
header { padding-top: 2rem; max-width: 76rem; margin: 0 auto; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
header p { color: var(--muted); margin: .2rem 0; }
.layout { max-width: 76rem; margin: 0 auto; }
nav { padding: 1rem 1.25rem; }
nav h2 { font-size: .8rem; text-transform: uppercase; letter-spacing: .06em; margin: 0 0 .4rem;
  color: var(--muted); border: 0; padding: 0; }
nav ol { list-style: none; margin: 0; padding: 0; columns: 2; column-gap: 1.5rem; }
nav li { break-inside: avoid; }
nav a { text-decoration: none; display: block; padding: .25rem 0; }
nav a:hover { text-decoration: underline; }
nav ol ol { display: none; }
nav .absent { color: var(--muted); }
section { margin: 0 0 3.5rem; }
h2 { font-size: 1.45rem; line-height: 1.25; margin: 0 0 1rem; padding-top: .9rem;
  border-top: 2px solid var(--line); }
h3 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
h4, h5, h6 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p, li, dd { max-width: 68ch; }
p { margin: 0 0 1rem; }
code { font: .92em ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace;
  background: var(--raised); padding: .08em .3em; border-radius: 3px; }
pre code { background: none; padding: 0; }
.scroll { overflow: auto; max-width: 100%; max-height: 34rem; margin: 0 0 1.25rem;
  border: 1px solid var(--line); border-radius: 4px; }
pre.scroll { background: var(--raised); padding: .75rem 1rem; line-height: 1.45; max-height: 26rem;
  overflow-wrap: normal; }
table { border-collapse: collapse; font-size: .9rem; line-height: 1.4; min-width: 100%;
  font-variant-numeric: tabular-nums lining-nums; overflow-wrap: normal; }
th, td { padding: .38rem .55rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); max-width: 34rem; }
thead th { position: sticky; top: 0; background: var(--raised); vertical-align: bottom; }
tbody th { font-weight: 500; white-space: nowrap; }
tbody tr:last-child > * { border-bottom: 0; }
.number { text-align: right; white-space: nowrap; }
.short { white-space: nowrap; }
figure { margin: 0 0 1.75rem; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff;
  border: 1px solid var(--line); border-radius: 4px; padding: 6px; }
.frame { overflow-x: auto; }
figcaption { color: var(--muted); font-size: .9rem; margin-top: .45rem; max-width: 80ch; }
.files { white-space: nowrap; }
.tables { color: var(--muted); font-size: .9rem; }
.absent-part { color: var(--muted); }
#warnings { background: var(--warning-ground); color: var(--warning-ink);
  border-left: 5px solid var(--warning-line); border-radius: 4px; padding: 1rem 1.25rem .5rem; }
#warnings h2 { border: 0; padding: 0; }
#warnings a, #warnings .tables { color: inherit; }
#warnings .scroll, #warnings code { background: var(--ground); color: var(--ink); }
footer { max-width: 76rem; margin: 0 auto; padding-bottom: 3rem; color: var(--muted);
  font-size: .9rem; }
@media screen and (max-width: 40rem) {
  /* Words in a figure stay large enough to be read; it is moved under the finger. */
  .frame img { width: 46rem; max-width: none; }
}
@media (min-width: 64rem) {
  .layout { display: grid; grid-template-columns: 15rem minmax(0, 1fr); }
  nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow: auto;
    padding-top: 1.5rem; font-size: .92rem; }
  nav ol { columns: 1; }
  nav ol ol { display: block; padding-left: .9rem; font-size: .92em; }
  main { padding-top: 1.5rem; }
}
@media print {
  :root { LIGHT }
  body { font-size: 10pt; }
  nav, .skip, .files { display: none; }
  .layout { display: block; }
  .scroll, pre.scroll { overflow: visible; max-height: none; border: 0; }
  pre.scroll { white-space: pre-wrap; font-size: 8pt; }
  thead th { position: static; }
  table { font-size: 8pt; }
  figure, tr { break-inside: avoid; }
  h2, h3, h4 { break-after: avoid; }
  section { margin-bottom: 1.5rem; }
}
"""


def write_style() -> str:
    """The style sheet."""
    light, dark = _properties(LIGHT), _properties(DARK)
    root = f":root {{ color-scheme: light dark; {light} }}\n"
    root += f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    return root + _RULES.replace("LIGHT", light)


def _properties(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())
