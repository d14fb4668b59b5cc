/** The style sheet of the HTML report: light and dark, readable when printed. */

export const reportStyle = `
:root{color-scheme:light dark;--text:#1d2430;--soft:#5b6575;--line:#d9dee6;--track:#eceff3;--after:#2f6fb5;--before:#9aa7b8;--back:#fff;--panel:#f6f7f9}
@media(prefers-color-scheme:dark){:root{--text:#e4e8ee;--soft:#9ba6b5;--line:#343c48;--track:#2a313b;--after:#6ea8e5;--before:#67748a;--back:#15191f;--panel:#1d232b}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--text);background:var(--back);max-width:66rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;margin-bottom:.3rem}h2{font-size:1.25rem;margin:2.5rem 0 .2rem}h3{font-size:1rem}
section>p,.foot{color:var(--soft);margin:.1rem 0 .8rem}.lead{font-size:1.1rem}
.note{border-left:3px solid var(--after);padding:.3rem .8rem;background:var(--panel)}
table{border-collapse:collapse;width:100%;margin:.6rem 0 1.2rem}
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top;font-weight:normal}
thead th{color:var(--soft);font-size:.85rem}th small{display:block;color:var(--soft)}
.number{font-variant-numeric:tabular-nums;white-space:nowrap}td.number{text-align:right}td.bar{white-space:nowrap}td.bar span{margin-left:.5rem}
svg .track{fill:var(--track)}svg .after{fill:var(--after)}svg .before{fill:var(--before)}svg .axis{stroke:var(--line)}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}
details{border-bottom:1px solid var(--line);padding:.35rem 0}summary{cursor:pointer}summary .number{float:right;color:var(--soft)}
figure{margin:.7rem 0}figcaption{font-size:.85rem;color:var(--soft);overflow-wrap:anywhere}
pre{background:var(--panel);padding:.6rem .8rem;margin:.2rem 0;white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.45 ui-monospace,monospace;max-height:16rem;overflow:auto}
.charts{display:flex;flex-wrap:wrap;gap:1.5rem}.charts figure{margin:0}
`;
