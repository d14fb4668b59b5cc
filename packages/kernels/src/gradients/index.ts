/** Registers every stock gradient this package provides; importing this module is enough. */
import { registerArithmeticGradients } from './arithmetic';
import { registerElementWiseGradients } from './element-wise';
import { registerMatrixProductGradient } from './matrix-product';
import { registerReductionGradients } from './reductions';
import { registerShapingGradients } from './shaping';

registerArithmeticGradients();
registerElementWiseGradients();
registerMatrixProductGradient();
registerReductionGradients();
registerShapingGradients();
