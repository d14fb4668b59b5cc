export { default } from './tooling/lint/base.js';
